package proctree_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"telecodex.dev/services/orchestrator/internal/proctree"
)

var linuxParts = map[string]func(args []string) int{
	// touch prints which of the files it could create or write.
	"touch": func(paths []string) int {
		written := []string{}
		for _, path := range paths {
			if os.WriteFile(path, []byte("written"), 0o600) == nil {
				written = append(written, path)
			}
		}
		return printJSON(written)
	},
	// peel tries to remove the mounts at paths and then glances at them.
	"peel": func(paths []string) int {
		for _, path := range paths {
			_ = unix.Unmount(path, 0)
			_ = unix.Unmount(path, unix.MNT_DETACH)
		}
		return parts["glance"](paths)
	},
	// nest plays another part in user, mount and PID namespaces of its own with a fresh /proc, as bubblewrap does.
	"nest": func(args []string) int {
		inner := inheriting("nested", args...)
		inner.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: os.Getuid(), HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: os.Getgid(), HostID: os.Getgid(), Size: 1}},
			AmbientCaps: []uintptr{unix.CAP_SYS_ADMIN},
		}
		if err := inner.Run(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return 0
	},
	"nested": func(args []string) int {
		if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		err := unix.Exec(self(), append([]string{"nested", helperArg}, args...), os.Environ())
		fmt.Fprintln(os.Stderr, err)
		return 1
	},
	// litter leaves orphans that end at once, and prints how many children its parent has once they are reaped, or at last.
	"litter": func([]string) int {
		for range 10 {
			if err := inheriting("litter-one").Run(); err != nil {
				return 1
			}
		}
		left := 0
		for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
			if left = len(children(os.Getppid())); left == 1 {
				break
			}
		}
		return printJSON(left)
	},
	"litter-one": func([]string) int {
		if err := inheriting("exit", "0").Start(); err != nil {
			return 1
		}
		return 0
	},
	// hop starts its like in another session and ends, for ever.
	"hop": func([]string) int {
		next := inheriting("hop")
		next.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := next.Start(); err != nil {
			return 1
		}
		return 0
	},
	// hop-parent lets one loose and stays.
	"hop-parent": func([]string) int {
		if err := inheriting("hop").Run(); err != nil {
			return 1
		}
		fmt.Println("ready")
		<-time.After(time.Hour)
		return 0
	},
	"fresh":   fresh,
	"program": program,
	// worker runs the part "parent" as its child, in a mode, with a state directory.
	"worker": func(args []string) int {
		mode, _ := strconv.Atoi(args[0])
		s, err := proctree.New(proctree.Options{Mode: proctree.Mode(mode), StateDir: args[1]})
		if err == nil {
			_, err = s.Start(part("parent", args[2], "block"))
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		fmt.Println("ready")
		<-time.After(time.Hour)
		return 0
	},
}

// children are the PIDs of a process's children.
func children(pid int) (pids []int) {
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, list := range lists {
		content, _ := os.ReadFile(list)
		for _, field := range strings.Fields(string(content)) {
			if child, err := strconv.Atoi(field); err == nil {
				pids = append(pids, child)
			}
		}
	}
	return pids
}

// command is the test binary as a command that reads and writes nothing.
func command(args ...string) *exec.Cmd { return exec.Command(ownExecutable, args...) }

// dies fails the test unless the descendant dies soon.
func (w *witness) dies(t *testing.T) {
	t.Helper()
	_ = w.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := w.conn.Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
		t.Fatalf("descendant survives: %v", err)
	}
}

// stop stops a child of the test and returns when all of its threads stand still.
func stop(t *testing.T, child *os.Process) {
	t.Helper()
	if err := child.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for {
		err := unix.Waitid(unix.P_PID, child.Pid, nil, unix.WSTOPPED|unix.WNOWAIT, nil)
		if err == nil {
			return
		}
		if err != unix.EINTR {
			t.Fatal(err)
		}
	}
}
