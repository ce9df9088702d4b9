package e2e

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"telecodex.dev/services/e2e/internal/harness"
)

// disk is one that can be made read-only under running programs, as the kernel makes a
// file system on which it has met an error: what is open for writing stays open, and
// every write is refused (EROFS). With mounts that cannot be played: one is busy while
// a file on it is open for writing. So a filter has the kernel ask here about the
// programs' calls that write to files (seccomp_unotify(2)).
type disk struct {
	t        *testing.T
	dirs     []string // whatever lies beneath them
	readOnly atomic.Bool
	asked    sync.WaitGroup
}

// diskSocket names the socket to which a program that is to start on a disk gives the
// right to answer for it.
const diskSocket = "TELECODEX_E2E_DISK"

// newDisk comes before newSystem: the programs are to be stopped before it ends.
func newDisk(t *testing.T) *disk {
	d := &disk{t: t}
	t.Cleanup(d.asked.Wait)
	return d
}

// start has a program start on the disk.
func (d *disk) start(c harness.Command) (*harness.Process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "disk") // a socket's path must be short
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "s"), Net: "unix"})
	if err != nil {
		return nil, err
	}
	defer listener.Close()
	c.Env = append(c.Env, diskSocket+"="+listener.Addr().String())
	c.Path, c.Args = self, append([]string{c.Path}, c.Args...)
	p, err := harness.Start(c)
	if err != nil {
		return nil, err
	}
	questions, err := receive(listener)
	if err != nil {
		return nil, errors.Join(err, p.Kill(), errors.New(p.Stderr()))
	}
	d.asked.Go(func() {
		if err := errors.Join(d.answer(questions), unix.Close(questions)); err != nil {
			d.t.Error(err)
		}
	})
	return p, nil
}

// receive takes over a file descriptor.
func receive(listener *net.UnixListener) (int, error) {
	if err := listener.SetDeadline(time.Now().Add(patience)); err != nil {
		return 0, err
	}
	conn, err := listener.AcceptUnix()
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	control := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := conn.ReadMsgUnix(make([]byte, 1), control)
	if err != nil {
		return 0, err
	}
	messages, err := unix.ParseSocketControlMessage(control[:n])
	if err != nil || len(messages) != 1 {
		return 0, fmt.Errorf("%d control messages: %w", len(messages), err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return 0, err
	}
	return fds[0], nil
}

// init makes this program the one that a test wants to start on a disk: the filter
// stays with what is executed.
func init() {
	socket, ok := os.LookupEnv(diskSocket)
	if !ok {
		return
	}
	err := errors.Join(os.Unsetenv(diskSocket), filtered(socket))
	if err == nil {
		err = unix.Exec(os.Args[1], os.Args[1:], os.Environ())
	}
	fmt.Fprintln(os.Stderr, "disk:", err)
	os.Exit(1)
}

// filtered puts the filter on this thread, which is the one that is to execute.
func filtered(socket string) error {
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		return err
	}
	defer conn.Close()
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	filter := filterOf(writing)
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	questions, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER,
		uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		return fmt.Errorf("seccomp: %w", errno)
	}
	_, _, err = conn.WriteMsgUnix([]byte{0}, unix.UnixRights(int(questions)), nil)
	return err
}

// filterOf has the kernel ask about some calls and carry out all others.
func filterOf(calls map[uint32]call) []unix.SockFilter {
	const load, equal, end = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, unix.BPF_RET | unix.BPF_K
	filter := []unix.SockFilter{{Code: load, K: 0}} // seccomp_data.nr
	for nr := range calls {
		filter = append(filter, unix.SockFilter{Code: equal, Jf: 1, K: nr}, unix.SockFilter{Code: end, K: unix.SECCOMP_RET_USER_NOTIF})
	}
	return append(filter, unix.SockFilter{Code: end, K: unix.SECCOMP_RET_ALLOW})
}

// question is struct seccomp_notif, answer struct seccomp_notif_resp.
type question struct {
	id         uint64
	pid, flags uint32
	nr         int32
	arch       uint32
	ip         uint64
	args       [6]uint64
}

type answer struct {
	id    uint64
	val   int64
	errno int32
	flags uint32
}

// answer answers for a program until it and all that it started have ended.
func (d *disk) answer(questions int) error {
	for {
		poll := []unix.PollFd{{Fd: int32(questions), Events: unix.POLLIN}}
		if _, err := unix.Poll(poll, -1); err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		if poll[0].Revents&unix.POLLIN == 0 {
			if poll[0].Revents&unix.POLLHUP != 0 {
				return nil
			}
			continue
		}
		var q question
		if err := ioctl(questions, unix.SECCOMP_IOCTL_NOTIF_RECV, unsafe.Pointer(&q)); err != nil {
			if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINTR) {
				continue // who asked is gone
			}
			return err
		}
		a := answer{id: q.id, flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE}
		if d.readOnly.Load() && d.holds(q) {
			a = answer{id: q.id, errno: -int32(unix.EROFS)}
		}
		if err := ioctl(questions, unix.SECCOMP_IOCTL_NOTIF_SEND, unsafe.Pointer(&a)); err != nil && !errors.Is(err, unix.ENOENT) {
			return err
		}
	}
}

func ioctl(fd int, request uint, arg unsafe.Pointer) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(request), uintptr(arg)); errno != 0 {
		return errno
	}
	return nil
}

// holds says whether a call would write to the disk.
func (d *disk) holds(q question) bool {
	path, writes := writing[uint32(q.nr)].file(q)
	return writes && slices.ContainsFunc(d.dirs, func(dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") })
}

// call says where a call has what it is about. -1: nowhere.
type call struct {
	fd    int // which argument is the open file, or the directory that path starts from
	path  int // which one is the path
	flags int // which one says how a file is opened; others change something whatever they say
}

// writing are the calls that change something on a disk, by number.
var writing = withOlder(map[uint32]call{
	unix.SYS_PWRITE64:  {0, -1, -1},
	unix.SYS_FTRUNCATE: {0, -1, -1},
	unix.SYS_FALLOCATE: {0, -1, -1},
	unix.SYS_OPENAT:    {0, 1, 2},
	unix.SYS_MKDIRAT:   {0, 1, -1},
	unix.SYS_UNLINKAT:  {0, 1, -1},
	unix.SYS_RENAMEAT:  {0, 1, -1},
	unix.SYS_RENAMEAT2: {0, 1, -1},
})

// withOlder adds calls that only some processors have.
func withOlder(calls map[uint32]call) map[uint32]call {
	if runtime.GOARCH == "amd64" {
		const open, mkdir, unlink = 2, 83, 87
		calls[open], calls[mkdir], calls[unlink] = call{-1, 0, 1}, call{-1, 0, -1}, call{-1, 0, -1}
	}
	return calls
}

// file is the file that a call is about, and whether it writes.
func (c call) file(q question) (path string, writes bool) {
	if c.flags >= 0 && q.args[c.flags]&(unix.O_WRONLY|unix.O_RDWR|unix.O_CREAT|unix.O_TRUNC) == 0 {
		return "", false
	}
	base := fmt.Sprintf("/proc/%d/cwd", q.pid)
	if c.fd >= 0 && int32(q.args[c.fd]) != unix.AT_FDCWD {
		base = fmt.Sprintf("/proc/%d/fd/%d", q.pid, int32(q.args[c.fd]))
	}
	base, err := os.Readlink(base)
	if err != nil || c.path < 0 {
		return base, err == nil
	}
	name, err := readString(q.pid, q.args[c.path])
	if !filepath.IsAbs(name) {
		name = filepath.Join(base, name)
	}
	return filepath.Clean(name), err == nil
}

// readString reads a path in the memory of another process.
func readString(pid uint32, address uint64) (string, error) {
	memory, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		return "", err
	}
	defer memory.Close()
	buffer := make([]byte, unix.PathMax)
	n, err := memory.ReadAt(buffer, int64(address))
	if end := slices.Index(buffer[:n], 0); end >= 0 {
		return string(buffer[:end]), nil
	}
	return "", errors.Join(err, errors.New("a path has no end"))
}
