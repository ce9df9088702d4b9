package harness

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// Main is the TestMain of a package that runs programs. prepare has a directory for
// them, which is removed in the end, and may return what is to be done after the
// tests; nil: nothing. Goroutines that are left then are a failure.
func Main(m *testing.M, prepare func(dir string) (finish func() error, err error)) {
	status, err := run(m, prepare)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(status)
}

func run(m *testing.M, prepare func(dir string) (finish func() error, err error)) (status int, err error) {
	dir, err := os.MkdirTemp("", "telecodex-tests")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	finish, err := prepare(dir)
	if err != nil {
		return 0, err
	}
	status = m.Run()
	if finish != nil {
		err = finish()
	}
	if status == 0 && err == nil {
		err = goleak.Find()
	}
	return status, err
}
