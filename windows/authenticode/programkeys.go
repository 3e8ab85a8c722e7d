// SPDX-License-Identifier: Apache-2.0

package authenticode

// A programKey is the public key of a root that issues for one of Microsoft's programs.
type programKey struct {
	name  string // the root's common name
	id    uint32 // its number in code integrity policies
	cross bool   // it issues cross certificates for commercial authorities, and nothing else
	key   string // subjectPublicKeyInfo, base64

	// What names the root's own certificate, which is not here: SHA-1 of it (its thumbprint), SHA-256 of it, and the
	// digest of its signed part by the algorithm of its signature. What is not known is empty.
	sha1, sha256, tbs string
}

// programKeys are Microsoft's roots of what drivers are signed with. They say whose program a
// signature belongs to, and carry the verdict of key set "microsoft".
var programKeys = [...]programKey{
	{
		name:   "Microsoft Root Certificate Authority 2010",
		id:     6,
		sha1:   "3b1efd3a66ea28b16697394703a72ca340a05bd5",
		sha256: "df545bf919a2439c36983b54cdfc903dfa4f37d3996d8d84b4c31eec6f3c163e",
		tbs:    "08fba831c08544208f5208686b991ca1b2cfc510e7301784ddf1eb5bf0393239",
		key: "" +
			"MIICIjANBgkqhkiG9w0BAQEFAAOCAg8AMIICCgKCAgEAuQieKOTk7AZOUGizQcV76662jq+BuiJEH2U0aUy+cEAX8hZ74nn9hu0N" +
			"OfQbqK2SkB7LPXaPWtm1kRAuPAWNim0kVOcf7Vatg7RQnBWlF3SIWSD8CMWEdtNo1G8oeM5cuPNQkET/42NfvqGaLJYVBNYH/h6E" +
			"IeBCMRHEKDaUz1CkYp7J1qtxALJbDOaW1AoklvX/xtW3G9fLtyFirxLcoV034xr7GkaYwJvA52MfKgiTAn4eao7ynxiJ5CKForGE" +
			"V0D/9Q7Yb5zt4kUxAc0X6X+wgUXjqiFAJqFyqqdPPAEFfu6DWLFeBmOZYpF4grcNkwwkarQb2yfsX5UEP5NKMPWXGLOn+RmnkzMd" +
			"AcjbIlJc1yXJRvmi+4dZQ76bYrGNLYZEGkaseGF+MAn6ronEQSoiZgOROUWcx4sMqMoNL/tS6gz3YzMjnf6wH61n1qdQA8YEcGO1" +
			"LLGGWkO3+675biluISFBJgaMycPusMKFk6G5hdnmMmxLTD/WXaPltZ13w5zAVbd0AOO4OKuDl1DhmkIkHcbAozDRGlrIUjT3c/HH" +
			"GB8zrXrsy0Fg8yOUIMJIRaxcUcYugMLidxW9hYftNp2Wke4AtaNw7J/jjYBog3a6r11wUiIW4mb7urPFwvc+L3emyt7BpsZITMM3" +
			"USPTJ9e4TnCW8KFEdq94z5rhZhMCAwEAAQ==",
	},
	{
		name:   "Microsoft Root Certificate Authority 2011",
		id:     7,
		sha1:   "8f43288ad272f3103b6fb1428485ea3014c0bcfe",
		sha256: "847df6a78497943f27fc72eb93f9a637320a02b561d0a91b09e87a7807ed7c61",
		tbs:    "279cd652c4e252bfbe5217ac722205d7729ba409148cfa9e6d9e5b1cb94eaff1",
		key: "" +
			"MIICIjANBgkqhkiG9w0BAQEFAAOCAg8AMIICCgKCAgEAsoBBqjU4TRNyMmgiTbiy8f/VUrxsx/XSSow27tHCXH6Miq6vEyhvwHPj" +
			"Os7QJahaOm3vqLhZqxMjaM0MKYfRb4Bcj0R/XZABUlisUcVfKofc3NgKHcEDuXuwVuij3mRhwp7483y57A21VP5MtmVPiPCcSJkM" +
			"QgsJfDFZF3kGeCiNiTpMAyW+cWpcC+eEYKSZIuPSr4Skp/vRmO0Mqd6UieEOoNzAzpk96ghSu1Z55B+Euh64tMRJXE8xS4fd3QVn" +
			"JpmA4HERo7ilQeKkU7n3MimDDBO/Nl4Es0tDRy9r4pEe05hP3UIHyOgdEvyZqWs+kn7I1mk6/GS9tgmdyv0MC6Kbd2BLA5SkMGkS" +
			"1kItwUFMytyq/Y9bg0aa2fyx0eOzyX9Ies0k8EGPXHTQrLAQIAZJt8ctIchX49CG8wNo+9DOccGJmUpkAWz97DCRz0E8ksfluoYd" +
			"YYTHX4M5Yq60ki9H8wv4VeugH1nQu3SbHtB25vLpBtcQ6Ppk3mnGNZaIAvBGuD8nmW/LcYkpNfdIFgI1j9V5fE0Cz1/rioNPRXGI" +
			"+akNTnLpwpwHz0kbTgQOY1GMXtgAwVUstsbgwmVOyTQ59ZyzxH7oYW4TXxXEX9l+7R3O7kTsyy6Gsew49nDtq1wTwdkPDceAslXt" +
			"NPesm+TD2udHPKa1jzHfxUuv6/ECAwEAAQ==",
	},
	{
		name:   "Microsoft Root Certificate Authority",
		id:     5,
		sha1:   "cdd4eeae6000ac7f40c3802c171e30148030c072",
		sha256: "885de64c340e3ea70658f01e1145f957fcda27aabeea1ab9faa9fdb0102d4077",
		tbs:    "391be92883d52509155bfeae27b9bd340170b76b",
		key: "" +
			"MIICIjANBgkqhkiG9w0BAQEFAAOCAg8AMIICCgKCAgEA8136gGfUWqepDCyQINA1CDx1hM23B4mcidrezsNg+pFoWp6UcSkYdnzC" +
			"4MgldpQOWPoENDbm36/3gLrpWAsrk+WdBeN3IpH3NGQ8IpEdXuEJkLwU/vx1WBnhebcHkqOuiFkI2J8HygNY/GgpbTLX0qjLS/zh" +
			"C0gyT+bruK1P5FxvE5SZ25XVdduoGreUkbR3W/VIDI9qeX0UcAR9ba+Q9dpw2Ee3v5svbOcFt+ERYKx5kRR8xdam5OF+1cN+5ZLS" +
			"PAC1NoLeeeFt87Vu+J8zyctSfXOYNtuLoWuilZebo97CTSb/BpZnJQbI56zk7hIzlTGZyDUITjTKeVPVtb5jMllANsClTgRNPdtb" +
			"BzPkWL/vP1Nk2EJZNVf9D0V8JARNntY4dBGXIpDOaER0km/VS2+whuPHNkKg0PzBwFr5o2G5MEdxlgoWsJHAQpXvEH8oauMqH7Hk" +
			"zQM/d3EExyD8SQ8dRYik18t+iK2OLexF28RRBMkq/OyGnpoRl1vezlOI5uK3/ayVwihA2+8EkN+BMznZskWlI4cGpVWJMbsGLWAO" +
			"QRh9Hy61l8sR6xXVJKWU7xUUif1Lc/oyW/zRMwD5WWJwBzLqLqtALXvK3SFnGzCZjxaqI6hB0bBuEZs2xN5AdJzhWGXBYB56WzjI" +
			"j7sEJnzUFkDltmtsqob9AL/OwTUCAwEAAQ==",
	},
	{
		name:   "Microsoft Root Authority",
		id:     4,
		sha1:   "a43489159a520f0d93d032ccaf37e7fe20a8b419",
		sha256: "f38406e540d7a9d90cb4a9479299640ffb6df9e224ecc7a01c0d9558d8dad77d",
		tbs:    "8b3c3087b7056f5ec5ddba91a1b901f0",
		key: "" +
			"MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAqQK9wXDmO/JOGyifl3heMOqiqY0lX/j+lUyjt/6doiA+fFGim6KPYDJr" +
			"0UJkee6sdslU2vLrnIYcj5+EZrPFa3piI9YdPN4PAZLolsS/LWaammgmmdA6LL8MtVgmwUbnCj44liypKDmo7EmDQuOED7uabFVh" +
			"rIJ8oWAtd0zpmbRkO5pQHDEIJBSfqeeRKxjmPZhjFGBYBWWfHTdSh/en75QCxhvTv1VFs4mAvzrsVJROrv2nem10Tq8YzJYJKCEA" +
			"V5BgaTe7SxIHPFb/W/ukZgoIptKBVlfvtjteFoF3BNr2vq6Alf6wzX/WpxpyXDzKvPAIoyIwswaFybMgdxOF3wIDAQAB",
	},
	{
		name:  "Microsoft Code Verification Root",
		id:    8,
		sha1:  "8fbe4d070ef8ab1bccaf2a9d5ccae7282a2c66b3",
		tbs:   "f4e3b23c5b3673fb06339c35314279fdee1e003f",
		cross: true,
		key: "" +
			"MIICIjANBgkqhkiG9w0BAQEFAAOCAg8AMIICCgKCAgEAvXfJHH8VeDjFB0MhWvvkzDvGVTH8IYmxvOcBnPuQviARVXanTQLnsvQu" +
			"je+yh0ZWykfOyMNj4wgDS5YGuXAiROZLe0Q/dbe4piuRCEHvSwdZ1qQZnfbLpLuOAmVNyt4PtJAi8bVrXCL2yvk4qigLBi08GY23" +
			"NV+D7d1lc4RGkp9E4olKjNWYp2096BnLRK0YC+pcX3wLw5qTaETztr+XmTByPyhZ0HDIBVd49UqCNAokwXqwZKU6bhLVA2E4uw4t" +
			"/YWc1kh1ahyyouiR+rfk9Txf/clArMegQvV02Lnb1/5zdxrgxLcJsQWabeNegDh1eFK2EtN5rkP3ZafRFmRphY94OriUv0USYlpN" +
			"h0jW+Bm8WQEG9RrbYCmfAT9uc/n9gEXOldeK9pIMwXNALG2qMqbxfzD4kPGuRSe5tA4wAr3GDuw8jFu2NIXPFAsMUA2p4lmRLqgB" +
			"OfQsFWMEgLhA32L3/rdME6gsqWYTOGL8QHBie3V31SuOG6WZ5bm3x63qAaAle1hGUlZUosmSK1gdSFHAH/43ANHiqxDCqVnpQplu" +
			"j7UeR2Z0Hph2V1cEXr0vhZPVDgufLnsmZKeGEglQY+fRx45+DjsH57vkzRpA1Hq6BVlK1tDu3JZeIkonHEXj3tqy6dND/elvwMl9" +
			"H/2fkJyGIAjMdNxApymzq1hla7ECAwEAAQ==",
	},
}
