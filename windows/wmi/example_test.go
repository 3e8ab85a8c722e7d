// SPDX-License-Identifier: Apache-2.0

package wmi_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/kernelext/kernelext/lkm"
	"github.com/kernelext/kernelext/windows/wmi"
)

// A program that wants the cross-check gives Call to the library; what is not a question to WMI is not answered.
func Example() {
	o := lkm.Options{Call: wmi.Call}
	_, err := o.Call(context.Background(), "no_such_op")
	fmt.Println(errors.Is(err, errors.ErrUnsupported))
	// Output: true
}
