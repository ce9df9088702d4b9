package codexsim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// roleVariable tells a re-executed process what it is.
	roleVariable   = "FAKE_CODEX_ROLE"
	roleGrandchild = "grandchild"

	addrSuffix = ".addr"
)

// grandchild leaves a process behind that only a thorough supervisor finds.
func grandchild(t *turn) int {
	if err := startGrandchild(t); err != nil {
		fmt.Fprintln(t.process.Stderr, "fakecodex:", err)
		return ExitInternal
	}
	t.begin()
	t.pause(t.milliseconds("FAKE_CODEX_DELAY", 0))
	return t.finish(t.reply())
}

// startGrandchild starts it in a session of its own, with this process's stdout,
// and returns when it listens.
func startGrandchild(t *turn) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	command := exec.Command(self)
	command.Env = append(t.process.Env, roleVariable+"="+roleGrandchild, "FAKE_CODEX_PID_FILE="+t.getenv("FAKE_CODEX_PID_FILE"))
	command.Stdout = t.process.Stdout
	command.SysProcAttr = detached()
	ready, err := command.StderrPipe()
	if err != nil {
		return err
	}
	if err := command.Start(); err != nil {
		return err
	}
	said, err := io.ReadAll(ready)
	if err != nil {
		return err
	}
	if len(said) > 0 {
		return fmt.Errorf("grandchild: %s", said)
	}
	// It is never waited for: it is meant to outlive this process.
	return command.Process.Release()
}

// grandchildMain listens on a loopback port, so that its death can be observed
// from any namespace, writes address and pid, and stays for ever.
func grandchildMain(getenv func(string) string) int {
	signal.Ignore(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err == nil {
		path := getenv("FAKE_CODEX_PID_FILE")
		err = errors.Join(
			writeWhole(path+addrSuffix, listener.Addr().String()),
			writeWhole(path, strconv.Itoa(os.Getpid())))
	}
	if err != nil {
		fmt.Fprint(os.Stderr, err)
		return ExitInternal
	}
	os.Stderr.Close() // says that it is ready
	for {
		connection, err := listener.Accept()
		if err != nil {
			return ExitInternal
		}
		defer connection.Close() // held open as long as the process lives
	}
}

// writeWhole writes a file so that a reader sees all of it or none.
func writeWhole(path, content string) error {
	if err := os.WriteFile(path+".tmp", []byte(content), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".tmp", path)
}

// Grandchild watches the process that the grandchild scenario leaves behind.
// The number in FAKE_CODEX_PID_FILE is worth nothing outside of the worker's
// namespaces; the connection held here breaks when the process dies, wherever it
// lives.
type Grandchild struct{ connection net.Conn }

// WatchGrandchild waits for the process whose FAKE_CODEX_PID_FILE is pidFile to
// come up and connects to it. It fails when ctx ends first, or when the process
// is already gone.
func WatchGrandchild(ctx context.Context, pidFile string) (*Grandchild, error) {
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for {
		if addr, err := os.ReadFile(pidFile + addrSuffix); err == nil {
			var dialer net.Dialer
			connection, err := dialer.DialContext(ctx, "tcp", strings.TrimSpace(string(addr)))
			if err != nil {
				return nil, err
			}
			return &Grandchild{connection}, nil
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Gone waits until the process is dead. It returns ctx's error when that takes
// too long.
func (g *Grandchild) Gone(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { g.connection.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	// The process never writes: whatever ends the read but the deadline is its death.
	_, err := g.connection.Read(make([]byte, 1))
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return ctx.Err()
	}
	return g.connection.Close()
}
