module github.com/kernelext/kernelext

go 1.25.0
