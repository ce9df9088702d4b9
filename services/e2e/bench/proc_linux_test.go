package bench

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// rss is the memory of a process that is in RAM, in bytes.
func rss(b testing.TB, pid int) int { return field(b, pid, "status", "VmRSS") }

// peak is the most that rss has been since forgetPeak.
func peak(b testing.TB, pid int) int { return field(b, pid, "status", "VmHWM") }

// private is the memory that a process shares with no other, in bytes.
func private(b testing.TB, pid int) int {
	return field(b, pid, "smaps_rollup", "Private_Clean") + field(b, pid, "smaps_rollup", "Private_Dirty")
}

// name is the name of the program that a process runs, its first 15 bytes.
func name(b testing.TB, pid int) string {
	b.Helper()
	content, err := os.ReadFile(process(pid, "comm"))
	if err != nil {
		b.Fatal(err)
	}
	return string(bytes.TrimSpace(content))
}

func forgetPeak(b testing.TB, pid int) {
	b.Helper()
	if err := os.WriteFile(process(pid, "clear_refs"), []byte("5"), 0); err != nil {
		b.Fatal(err)
	}
}

// children are the processes that a process has started and that still run.
func children(b testing.TB, pid int) (pids []int) {
	b.Helper()
	files, err := filepath.Glob(process(pid, "task/*/children"))
	if err != nil || len(files) == 0 {
		b.Fatalf("the children of process %d are not listed: %v", pid, err)
	}
	for _, file := range files {
		list, err := os.ReadFile(file)
		if os.IsNotExist(err) {
			continue // the thread has ended
		}
		if err != nil {
			b.Fatal(err)
		}
		for _, word := range bytes.Fields(list) {
			child, err := strconv.Atoi(string(word))
			if err != nil {
				b.Fatal(err)
			}
			pids = append(pids, child)
		}
	}
	return pids
}

// field reads a line such as "VmRSS:  1234 kB", as bytes.
func field(b testing.TB, pid int, file, key string) int {
	b.Helper()
	content, err := os.ReadFile(process(pid, file))
	if err != nil {
		b.Fatal(err)
	}
	for line := range bytes.Lines(content) {
		var size int
		if _, err := fmt.Sscanf(string(line), key+": %d kB", &size); err == nil {
			return size * kib
		}
	}
	b.Fatalf("%s of process %d does not tell %s", file, pid, key)
	return 0
}

func process(pid int, file string) string { return filepath.Join("/proc", strconv.Itoa(pid), file) }

// ticks is the processor time that a process has taken so far.
func ticks(b *testing.B, pid int) time.Duration {
	b.Helper()
	content, err := os.ReadFile(process(pid, "stat"))
	if err != nil {
		b.Fatal(err)
	}
	// The name, in parentheses, may hold anything; the 14th and 15th word are user and system time in hundredths of a second.
	words := bytes.Fields(content[bytes.LastIndexByte(content, ')')+1:])
	var sum time.Duration
	for _, word := range words[11:13] {
		n, err := strconv.Atoi(string(word))
		if err != nil {
			b.Fatal(err)
		}
		sum += time.Duration(n) * 10 * time.Millisecond
	}
	return sum
}
