//go:build unix

package pgtest

import (
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"syscall"
)

// nobody is whom the server runs as where the tests run as root, which it
// refuses; nil: as whoever runs the tests.
func nobody() (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	found, err := user.Lookup("postgres")
	if err != nil {
		if found, err = user.Lookup("nobody"); err != nil {
			return nil, err
		}
	}
	uid, err := strconv.ParseUint(found.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(found.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, err
}

func unprivileged(cmd *exec.Cmd) error {
	who, err := nobody()
	// A group of its own: Ctrl+C is for the tests, which then end the server.
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: who, Setpgid: true}
	return err
}

// own gives files to the server's user.
func own(paths ...string) error {
	who, err := nobody()
	if err != nil || who == nil {
		return err
	}
	for _, path := range paths {
		if err := os.Chown(path, int(who.Uid), int(who.Gid)); err != nil {
			return err
		}
	}
	return nil
}
