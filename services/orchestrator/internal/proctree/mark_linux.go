package proctree

import (
	"encoding/binary"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// mark identifies a child and all its descendants where the kernel does not keep them together.
//
// It is the child's limit on uninterrupted realtime CPU time (RLIMIT_RTTIME): a random number of microseconds around twenty
// thousand years, so without effect, and without a chance to be met elsewhere. A resource limit is inherited through every
// fork, exec and setsid and can be read from outside; unlike a variable it alters no environment and survives a cleaned one, unlike a
// PID it is never reused. A process can lose it only by asking for a lower limit.
type mark uint64

func newMark() (mark, error) {
	var b [8]byte
	if _, err := unix.Getrandom(b[:], 0); err != nil { // crypto/rand would be half of the shim's package initializations
		return 0, os.NewSyscallError("getrandom", err)
	}
	return mark(1<<59 | binary.NativeEndian.Uint64(b[:])>>5), nil
}

// String is the mark as notes and cgroups are named by it.
func (m mark) String() string { return strconv.FormatUint(uint64(m), 16) }

func parseMark(s string) (mark, error) {
	n, err := strconv.ParseUint(s, 16, 64)
	if err == nil && n>>59 != 1 {
		err = fmt.Errorf("not a mark: %q", s)
	}
	return mark(n), err
}

// wear puts the mark on the calling process and what it starts from now on.
func (m mark) wear() error {
	limit := unix.Rlimit{Cur: uint64(m), Max: uint64(m)}
	if err := unix.Setrlimit(unix.RLIMIT_RTTIME, &limit); err != nil {
		return fmt.Errorf("mark: %w", err)
	}
	return nil
}

// wornBy tells whether the living process pid has the mark. A zombie is not living.
func (m mark) wornBy(pid int) bool {
	dir := "/proc/" + strconv.Itoa(pid)
	limits, err := os.ReadFile(dir + "/limits")
	if err != nil || !m.isIn(string(limits)) {
		return false
	}
	stat, err := os.ReadFile(dir + "/stat")
	return err == nil && living(string(stat))
}

// isIn reads a process's limits file: "Max realtime timeout   <soft>   <hard>   us" is one of its lines.
func (m mark) isIn(limits string) bool {
	_, line, _ := strings.Cut(limits, "Max realtime timeout")
	fields := strings.Fields(line)
	return len(fields) > 1 && fields[1] == strconv.FormatUint(uint64(m), 10)
}

// living reads a process's stat file: "pid (name, which may hold anything) state …", the number of threads being the 18th word from
// the state on. A process whose first thread alone has ended looks like a zombie with threads.
func living(stat string) bool {
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(fields) < 18 {
		return false
	}
	dead := fields[0] == "Z" || fields[0] == "X"
	return !dead || fields[17] != "0" && fields[17] != "1"
}

// forever as a deadline of purge.
var forever time.Time

// purge kills every process that wears m or is in cgroup, except the caller. It returns true when at most zombies are left, false
// at the deadline. What the caller may not kill is left alone.
func purge(m mark, cgroup string, deadline time.Time) bool {
	pause := time.Millisecond
	// Twice, since a process that forks and exits while one scan runs can escape it.
	for clean := 0; clean < 2; clean++ {
		if strike(m, cgroup) {
			clean = -1
		}
		if !deadline.Equal(forever) && time.Now().After(deadline) {
			return false
		}
		time.Sleep(pause)
		pause = min(2*pause, 50*time.Millisecond)
	}
	return true
}

// strike kills once what it finds, and tells whether there was anything.
func strike(m mark, cgroup string) (found bool) {
	if cgroup != "" {
		found = killCgroup(cgroup)
	}
	return sweep(m) || found
}

// sweep kills every process that wears m now, except the caller.
func sweep(m mark) (found bool) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return false
	}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		found = killWearer(m, pid) || found
	}
	return found
}

// killWearer kills pid if it wears the mark. The handle is taken before the mark is read: the number may be another process's by the
// time of the signal.
func killWearer(m mark, pid int) bool {
	handle, err := unix.PidfdOpen(pid, 0)
	if err == nil {
		defer func() { _ = unix.Close(handle) }()
	}
	if !m.wornBy(pid) {
		return false
	}
	if err != nil { // before Linux 5.3
		return unix.Kill(pid, syscall.SIGKILL) == nil
	}
	return unix.PidfdSendSignal(handle, unix.SIGKILL, nil, 0) == nil
}
