module github.com/kernelext/kernelext/e2e

go 1.25.0

require (
	github.com/CycloneDX/cyclonedx-go v0.12.0
	github.com/kernelext/kernelext v0.0.0
	github.com/santhosh-tekuri/jsonschema/v6 v6.0.3
	golang.org/x/sys v0.47.0
)

require (
	github.com/ebitengine/purego v0.11.3 // indirect
	github.com/klauspost/compress v1.20.3 // indirect
	golang.org/x/text v0.14.0 // indirect
	howett.net/plist v1.0.1 // indirect
)

replace github.com/kernelext/kernelext => ../
