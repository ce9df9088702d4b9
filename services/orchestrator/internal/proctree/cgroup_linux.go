package proctree

import (
	"bufio"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// cgroupPrefix begins the name of a child's cgroup; the mark follows.
const cgroupPrefix = "telecodex-"

var errNoCgroup = errors.New("no cgroup v2 hierarchy")

// cgroupBase is the directory of the cgroup v2 the worker itself is in. A child's stands beneath it, as delegation demands.
func cgroupBase() (string, error) {
	membership, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", err
	}
	var own string
	for line := range strings.Lines(string(membership)) {
		if path, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "0::"); ok {
			own = path
		}
	}
	if own == "" {
		return "", errNoCgroup
	}
	mounts, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	defer func() { _ = mounts.Close() }()
	for lines := bufio.NewScanner(mounts); lines.Scan(); {
		// "36 35 98:0 <root> <mount point> <options> <optional fields> - <type> <source> <super options>"
		fields, kind, _ := strings.Cut(lines.Text(), " - ")
		where := strings.Fields(fields)
		if !strings.HasPrefix(kind, "cgroup2 ") || len(where) < 5 {
			continue
		}
		if inside, err := filepath.Rel(where[3], own); err == nil && !strings.HasPrefix(inside, "..") {
			return filepath.Join(where[4], inside), nil
		}
	}
	return "", errNoCgroup
}

// makeCgroup creates the cgroup of one child, and refuses where it could not be killed as a whole (before Linux 5.14).
func makeCgroup(base string, m mark) (string, error) {
	dir := filepath.Join(base, cgroupPrefix+m.String())
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", err
	}
	if err := unix.Access(filepath.Join(dir, "cgroup.kill"), unix.W_OK); err != nil {
		_ = os.Remove(dir)
		return "", &fs.PathError{Op: "access", Path: filepath.Join(dir, "cgroup.kill"), Err: err}
	}
	return dir, nil
}

// killCgroup kills what is in the cgroup and tells whether there was anything.
func killCgroup(dir string) bool {
	events, err := os.ReadFile(filepath.Join(dir, "cgroup.events"))
	if err != nil || !strings.Contains(string(events), "populated 1") {
		return false
	}
	_ = os.WriteFile(filepath.Join(dir, "cgroup.kill"), []byte("1"), 0)
	return true
}

// removeCgroup removes an empty cgroup and those beneath it. For a moment after the last process it is still busy; a
// directory that stays is harmless.
func removeCgroup(dir string) {
	if dir == "" {
		return
	}
	inner, _ := filepath.Glob(filepath.Join(dir, "*", "cgroup.procs"))
	for _, procs := range inner {
		removeCgroup(filepath.Dir(procs))
	}
	for range 50 {
		if err := os.Remove(dir); !errors.Is(err, unix.EBUSY) {
			return
		}
		time.Sleep(time.Millisecond)
	}
}
