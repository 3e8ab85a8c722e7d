// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"strings"
	"unicode/utf8"
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

// codePageHead is how much of a text its code page is found out by, in bytes.
const codePageHead = 64 << 10

// consoleText turns a text that is not UTF-8 into UTF-8. cmd.exe redirects what tools print in the
// code page of the console, which the text does not name: it is the one in which most of the words
// make sense that tools print for states, start types and driver types. When none does, each byte
// becomes the character of the same number, so that columns keep their place and no byte is lost.
func consoleText(text string) string {
	if utf8.ValidString(text) {
		return text
	}
	page, most := "", 0
	for _, p := range codePages {
		if n := knownWords(fold(decodeBytes(text[:min(len(text), codePageHead)], p))); n > most {
			page, most = p, n
		}
	}
	return decodeBytes(text, page)
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

// knownWords counts the known words beyond ASCII that stand in a folded text.
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
