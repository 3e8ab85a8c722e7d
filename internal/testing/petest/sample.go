// SPDX-License-Identifier: Apache-2.0

package petest

// Sample returns a small driver with everything in it.
func Sample() Image {
	return Image{
		TimeStamp: 0x5f5e1000, PDB: `D:\b\ket.pdb`, Code: make([]byte, 9000),
		Imports: []Import{{Library: "NTOSKRNL.exe", Functions: []string{"IoCreateDevice", "#12"}},
			{Library: "Fltmgr.SYS", Functions: []string{"FltRegisterFilter"}}},
		Version: map[string]string{"OriginalFilename": "ket.sys", "CompanyName": "Ket, Inc.",
			"FileDescription": "Ket © driver", "FileVersion": "2, 0, 0, 1"},
		Numbers: [4]uint16{2, 0, 70, 1},
	}
}
