package bundle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"telecodex.dev/services/internal/lifecycle"
)

// Run packs a directory: bundle FILE DIR, the time from SOURCE_DATE_EPOCH. FILE is
// made anew, and what it holds has FILE's name without the ending for a directory.
// It is a lifecycle.Program.
func Run(_ context.Context, args []string, env lifecycle.Lookup, _, stderr io.Writer) int {
	epoch, err := strconv.ParseInt(env.Getenv("SOURCE_DATE_EPOCH"), 10, 64)
	if len(args) != 2 || err != nil {
		fmt.Fprintln(stderr, "usage: SOURCE_DATE_EPOCH=seconds bundle FILE.tar.gz|FILE.zip DIR")
		return lifecycle.ExitUsage
	}
	if err := packInto(args[0], args[1], time.Unix(epoch, 0)); err != nil {
		fmt.Fprintf(stderr, "bundle: %v\n", err)
		return lifecycle.ExitFailed
	}
	return lifecycle.ExitOK
}

func packInto(name, dir string, at time.Time) error {
	file, err := os.Create(name)
	if err != nil {
		return err
	}
	prefix := strings.TrimSuffix(strings.TrimSuffix(filepath.Base(name), ".tar.gz"), ".zip")
	return errors.Join(Pack(file, name, dir, prefix, at), file.Close())
}
