//go:build linux && !amd64 && !arm64

package proctree

import "errors"

// argument is one of a system call: a number or an address.
type argument struct{ number uintptr }

func at[T any](*T) argument { return argument{} }

// Namespaces need a child that makes a plan's system calls, and so a fork in this processor's own language. Where there is none,
// children are contained in a weaker way.
func (*plan) fork(uintptr) (int, error) { return 0, errors.ErrUnsupported }

// run does nothing.
func (*plan) run() {}
