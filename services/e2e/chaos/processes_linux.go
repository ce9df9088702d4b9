package chaos

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// remaining waits a little until no process is left whose command line names a
// path, and returns those that are.
func remaining(ctx context.Context, path string) (left []string) {
	for deadline := time.Now().Add(5 * time.Second); ; {
		left = mentioning(path)
		if len(left) == 0 || ctx.Err() != nil || time.Now().After(deadline) {
			return left
		}
		sleep(ctx, 20*time.Millisecond)
	}
}

// mentioning lists the processes of the machine, in whatever namespace, whose
// command line names a path. A process that ends meanwhile is none.
func mentioning(path string) (found []string) {
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return nil
	}
	for _, file := range files {
		line, err := os.ReadFile(file)
		if err != nil || !bytes.Contains(line, []byte(path)) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err == nil && pid != os.Getpid() {
			found = append(found, fmt.Sprintf("process %d: %s", pid, bytes.ReplaceAll(bytes.TrimRight(line, "\x00"), []byte{0}, []byte(" "))))
		}
	}
	return found
}
