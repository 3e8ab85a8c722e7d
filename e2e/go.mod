module github.com/kernelext/kernelext/e2e

go 1.25.0

require (
	github.com/kernelext/kernelext v0.0.0
	golang.org/x/sys v0.47.0
)

require (
	github.com/ebitengine/purego v0.11.3 // indirect
	github.com/klauspost/compress v1.20.3 // indirect
	howett.net/plist v1.0.1 // indirect
)

replace github.com/kernelext/kernelext => ../
