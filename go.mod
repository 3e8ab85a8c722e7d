module github.com/kernelext/kernelext

go 1.25.0

require (
	golang.org/x/sys v0.47.0
	howett.net/plist v1.0.1
)

require github.com/google/go-cmp v0.7.0
