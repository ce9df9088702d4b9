//go:build unix

package proctree_test

import (
	"io"
	"net"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"telecodex.dev/services/orchestrator/internal/proctree"
)

// borrow takes the descriptor that lend hands over.
func borrow(t *testing.T, listener *net.UnixListener) {
	t.Helper()
	_ = listener.SetDeadline(time.Now().Add(10 * time.Second))
	conn, err := listener.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	control := make([]byte, syscall.CmsgSpace(4))
	_, n, _, _, err := conn.ReadMsgUnix(make([]byte, 1), control)
	if err != nil {
		t.Fatal(err)
	}
	messages, err := syscall.ParseSocketControlMessage(control[:n])
	if err != nil || len(messages) != 1 {
		t.Fatalf("%d messages, %v", len(messages), err)
	}
	descriptors, err := syscall.ParseUnixRights(&messages[0])
	if err != nil || len(descriptors) != 1 {
		t.Fatalf("%d descriptors, %v", len(descriptors), err)
	}
	t.Cleanup(func() { _ = syscall.Close(descriptors[0]) })
}

func TestStdoutEndsThoughAnOutsiderHoldsIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	s := open(t, proctree.Options{})
	for name, early := range map[string]bool{"read as it comes": true, "read after the end": false} {
		t.Run(name, func(t *testing.T) {
			p := start(t, s, part("lend", path))
			var out []byte
			read := make(chan error, 1)
			all := func() {
				var err error
				out, err = io.ReadAll(p.Stdout())
				read <- err
			}
			if early {
				go all()
			}
			borrow(t, listener)
			if exit := p.Wait(); exit.Code != 0 {
				t.Errorf("got %+v", exit)
			}
			if !early {
				go all()
			}
			select {
			case err := <-read:
				if err != nil || len(out) != lent {
					t.Errorf("got %d bytes, %v", len(out), err)
				}
			case <-time.After(10 * time.Second):
				t.Fatal("standard output does not end")
			}
		})
	}
}
