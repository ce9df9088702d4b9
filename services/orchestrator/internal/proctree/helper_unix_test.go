//go:build unix

package proctree_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

var unixParts = map[string]func(args []string) int{
	// stubborn ignores every signal it can and answers on the connection for as long as it lives.
	"stubborn": func(args []string) int {
		signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
		conn, err := net.Dial("tcp", args[0])
		if err != nil {
			return 1
		}
		_, _ = io.Copy(conn, conn)
		<-time.After(time.Hour)
		return 0
	},
	// parent starts a stubborn descendant, detached as far as can be, and stays. Interrupted, it exits or dies as its second argument says.
	"parent": func(args []string) int {
		interrupts := make(chan os.Signal, 1)
		if args[1] == "exit" {
			signal.Notify(interrupts, os.Interrupt)
		}
		if runtime.GOOS == "darwin" {
			// There a descendant that at once loses its parent is out of reach.
			if detach(args[0]) != 0 {
				return 1
			}
		} else if err := inheriting("detach", args[0]).Run(); err != nil {
			return 1
		}
		fmt.Println("ready")
		<-interrupts
		return 5
	},
	"detach": func(args []string) int { return detach(args[0]) },
	// lend hands standard output to whoever listens on the socket, says something and ends.
	"lend": func(args []string) int {
		conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: args[0], Net: "unix"})
		if err != nil {
			return 1
		}
		if _, _, err := conn.WriteMsgUnix([]byte("!"), syscall.UnixRights(int(os.Stdout.Fd())), nil); err != nil {
			return 1
		}
		fmt.Print(strings.Repeat("x", lent))
		return 0
	},
}

// lent is how much lend says: several reads, and no more than a pipe holds.
const lent = 48 << 10

// detach starts a stubborn descendant in a session of its own, with an empty environment.
func detach(address string) int {
	orphan := inheriting("stubborn", address)
	orphan.Env = []string{}
	orphan.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := orphan.Start(); err != nil {
		return 1
	}
	return 0
}

// inheriting is a command of the test binary that holds the caller's output open.
func inheriting(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(self(), append([]string{helperArg, name}, args...)...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd
}

// witness sees whether a stubborn descendant lives: its connection ends with it, whatever namespace it is in.
type witness struct {
	listener net.Listener
	conn     net.Conn
}

func newWitness(t *testing.T) *witness {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &witness{listener: listener}
	t.Cleanup(func() {
		_ = listener.Close()
		if w.conn != nil {
			_ = w.conn.Close()
		}
	})
	return w
}

func (w *witness) address() string { return w.listener.Addr().String() }

// alive fails the test unless the descendant answers.
func (w *witness) alive(t *testing.T) {
	t.Helper()
	var err error
	if w.conn == nil {
		_ = w.listener.(*net.TCPListener).SetDeadline(time.Now().Add(10 * time.Second))
		if w.conn, err = w.listener.Accept(); err != nil {
			t.Fatal(err)
		}
	}
	_ = w.conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err = w.conn.Write([]byte("?")); err == nil {
		_, err = io.ReadFull(w.conn, make([]byte, 1))
	}
	if err != nil {
		t.Fatalf("descendant does not answer: %v", err)
	}
}

// dead fails the test unless the descendant is gone already.
func (w *witness) dead(t *testing.T) {
	t.Helper()
	raw, err := w.conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	_ = raw.Control(func(fd uintptr) {
		_, _, err = syscall.Recvfrom(int(fd), make([]byte, 1), 0)
	})
	if errors.Is(err, syscall.EAGAIN) {
		t.Fatal("descendant survives")
	}
}
