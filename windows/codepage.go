// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/kernelext/kernelext/fact"
)

// codePages are the upper halves of the code pages in which consoles and files of western Europe
// and Russia have their text: each string has a character for each byte from 0x80.
var codePages = [...]string{
	// 850: western Europe, console
	"ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜø£Ø×ƒáíóúñÑªº¿®¬½¼¡«»░▒▓│┤ÁÂÀ©╣║╗╝¢¥┐" +
		"└┴┬├─┼ãÃ╚╔╩╦╠═╬¤ðÐÊËÈıÍÎÏ┘┌█▄¦Ì▀ÓßÔÒõÕµþÞÚÛÙýÝ¯´\u00ad±‗¾¶§÷¸°¨·¹³²■\u00a0",
	// 866: Cyrillic, console
	"АБВГДЕЖЗИЙКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯабвгдежзийклмноп░▒▓│┤╡╢╖╕╣║╗╝╜╛┐" +
		"└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀рстуфхцчшщъыьэюяЁёЄєЇїЎў°∙·√№¤■\u00a0",
	// 1252: western Europe
	"€\ufffd‚ƒ„…†‡ˆ‰Š‹Œ\ufffdŽ\ufffd\ufffd‘’“”•–—˜™š›œ\ufffdžŸ\u00a0¡¢£¤¥¦§¨©ª«¬\u00ad®¯°±²³´µ¶·¸¹º»¼½¾¿" +
		"ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÐÑÒÓÔÕÖ×ØÙÚÛÜÝÞßàáâãäåæçèéêëìíîïðñòóôõö÷øùúûüýþÿ",
	// 1251: Cyrillic
	"ЂЃ‚ѓ„…†‡€‰Љ‹ЊЌЋЏђ‘’“”•–—\ufffd™љ›њќћџ\u00a0ЎўЈ¤Ґ¦§Ё©Є«¬\u00ad®Ї°±Ііґµ¶·ё№є»јЅѕї" +
		"АБВГДЕЖЗИЙКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯабвгдежзийклмнопрстуфхцчшщъыьэюя",
}

// codePageNames are their names.
var codePageNames = [len(codePages)]string{"cp850", "cp866", "windows-1252", "windows-1251"}

// codePageHead is how much of a text its code page is detected from, in bytes.
const codePageHead = 64 << 10

// readConsole is decodeConsole for a reader, to whose report a code page that is not known is a Problem.
func readConsole(text, source string, r *fact.Report) string {
	text, page, known := decodeConsole(text)
	r.Encoded(source, page)
	if !known {
		r.Add(fact.Problem{Source: source, Code: fact.CodeUnsupported,
			Text: "the text is in a code page that could not be found out: its characters beyond ASCII are unknown"})
	}
	return text
}

// decodeConsole turns a text that is not UTF-8 into UTF-8. cmd.exe redirects what tools print in the
// code page of the console, which the text does not name: it is the one that makes words of the most characters, and if
// two do, the one in which more of the words make sense that tools print for states, start types and driver types. When
// none does, each byte becomes the character of the same number, so that columns keep their place and no byte is lost.
//
// It returns the name of the code page, and whether it is known. It is not if two pages make words of the same quality
// that differ, or if one letter is all that there is.
func decodeConsole(text string) (decoded, name string, known bool) {
	if utf8.ValidString(text) {
		return text, "", true
	}
	const least = 2 // letters that prove a page; a known word proves it, too
	head := text[:min(len(text), codePageHead)]
	page, best, words, tied, chosen := "", 0, 0, false, ""
	for i, p := range codePages {
		d := decodeBytes(head, p)
		score, w := letterScore(d), knownWords(fold(d))
		switch {
		case score < least && w == 0:
		case page == "", score > best, score == best && w > words:
			page, best, words, tied, chosen, name = p, score, w, false, d, codePageNames[i]
		case score == best && w == words:
			tied = tied || d != chosen
		}
	}
	if tied {
		page, name = "", ""
	}
	return decodeBytes(text, page), name, page != ""
}

// letterScore counts the characters beyond ASCII in words as a language writes them, less those that do not: signs and
// gaps of a code page, capitals after small letters, and letters of two scripts in one word.
func letterScore(text string) int {
	score := 0
	for word := range strings.FieldsFuncSeq(text, func(r rune) bool {
		return r < utf8.RuneSelf && (r|0x20 < 'a' || r|0x20 > 'z')
	}) {
		score += wordScore(word)
	}
	return score
}

func wordScore(word string) int {
	score, latin, cyrillic := 0, false, false
	small := false // the letter before is a small one
	for _, r := range word {
		letter := unicode.IsLetter(r)
		latin = latin || unicode.Is(unicode.Latin, r)
		cyrillic = cyrillic || unicode.Is(unicode.Cyrillic, r)
		switch {
		case r < utf8.RuneSelf:
		case !letter && !strings.ContainsRune("’“”„«»–—…®™\u00a0№", r):
			score -= 3
		case letter && small && unicode.IsUpper(r):
			score -= 2
		case letter:
			score++
		}
		small = letter && unicode.IsLower(r)
	}
	if latin && cyrillic {
		score -= 2 * utf8.RuneCountInString(word)
	}
	return score
}

// decodeBytes reads each byte as a character: of ASCII, else of the page, else of Latin-1.
func decodeBytes(text, page string) string {
	high := []rune(page)
	var b strings.Builder
	b.Grow(len(text) + len(text)/8)
	for i := range len(text) {
		switch c := text[i]; {
		case c < utf8.RuneSelf:
			b.WriteByte(c)
		case len(high) > 0:
			b.WriteRune(high[c-utf8.RuneSelf])
		default:
			b.WriteRune(rune(c))
		}
	}
	return b.String()
}

// knownWords counts the known words beyond ASCII in a folded text.
func knownWords(text string) int {
	n := 0
	for _, terms := range [][]term{stateWords[:], startWords[:], driverTypeWords[:]} {
		for _, t := range terms {
			if !ascii(t.word) && strings.Contains(text, t.word) {
				n++
			}
		}
	}
	return n
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
