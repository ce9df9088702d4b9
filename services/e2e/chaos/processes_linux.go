package chaos

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
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

// stillThere waits a little until none of the processes is left, and returns those
// that are.
func stillThere(ctx context.Context, processes []string) (left []string) {
	for deadline := time.Now().Add(5 * time.Second); ; {
		left = nil
		for _, p := range processes {
			var pid int
			if _, err := fmt.Sscanf(p, "process %d:", &pid); err == nil && describe(pid) == p {
				left = append(left, p)
			}
		}
		if len(left) == 0 || ctx.Err() != nil || time.Now().After(deadline) {
			return left
		}
		sleep(ctx, 20*time.Millisecond)
	}
}

// describe names a process by its id and its command line; empty: it is gone.
func describe(pid int) string {
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || len(line) == 0 {
		return ""
	}
	return fmt.Sprintf("process %d: %s", pid, bytes.ReplaceAll(bytes.TrimRight(line, "\x00"), []byte{0}, []byte(" ")))
}

// mentioning lists the processes of the machine, in whatever namespace, whose
// command line names a path. A process that ends meanwhile is none.
func mentioning(path string) (found []string) {
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return nil
	}
	for _, file := range files {
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil || pid == os.Getpid() {
			continue
		}
		if process := describe(pid); strings.Contains(process, path) {
			found = append(found, process)
		}
	}
	return found
}
