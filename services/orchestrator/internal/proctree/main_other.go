//go:build !linux

package proctree

// Main returns at once: only on Linux is the program re-executed as a containment shim. It must still be the first statement of every
// main, and TestMain, of a program that uses a Supervisor.
func Main() {}
