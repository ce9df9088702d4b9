//go:build !linux

package checkup

// fileSystem knows no file systems here.
func fileSystem(string) string { return "" }
