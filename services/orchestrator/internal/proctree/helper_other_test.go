//go:build !linux

package proctree_test

var linuxParts map[string]func(args []string) int
