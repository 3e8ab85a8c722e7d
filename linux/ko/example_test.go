// SPDX-License-Identifier: Apache-2.0

package ko_test

import (
	"fmt"
	"testing/fstest"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/kotest"
	"github.com/kernelext/kernelext/linux/ko"
)

// A module's file says what modinfo prints.
func ExampleReader_ReadFile() {
	fsys := fstest.MapFS{"extra/snd-demo.ko": &fstest.MapFile{Data: kotest.LinuxModule(
		"license=GPL", "description=A demonstration", "depends=snd,soundcore", "name=snd_demo",
		"vermagic=6.1.0 SMP mod_unload ")}}
	var r fact.Report
	file, err := ko.NewReader().ReadFile(fsys, "extra/snd-demo.ko", ko.Options{Signature: true}, &r)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(file.Name, file.Compression)
	fmt.Println("description:", file.Modinfo.Get("description"))
	fmt.Println("depends:", file.Modinfo.Depends())
	fmt.Println("release:", ko.ReleaseOf(file.Modinfo.Get("vermagic")))
	fmt.Println("signature:", file.Verdict.Status)
	fmt.Println("problems:", len(r.Problems))
	// Output:
	// snd_demo none
	// description: A demonstration
	// depends: [snd soundcore]
	// release: 6.1.0
	// signature: none
	// problems: 0
}
