// Package structure tests the shape of the repository: which package may import
// which, that every package says what it is for, that no file grows beyond what
// a reader can follow, and that nothing in it speaks of one machine.
package structure
