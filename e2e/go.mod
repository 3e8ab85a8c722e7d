module github.com/kernelext/kernelext/e2e

go 1.25.0

require (
	github.com/kernelext/kernelext v0.0.0
	golang.org/x/sys v0.47.0
)

replace github.com/kernelext/kernelext => ../
