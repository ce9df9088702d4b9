//go:build unix

package checkup

import "golang.org/x/sys/unix"

// mayWrite asks whether this user may make files in a directory, and makes none.
func mayWrite(dir string) error { return unix.Access(dir, unix.W_OK|unix.X_OK) }

// freeSpace is what this user may still write, in bytes.
func freeSpace(dir string) (uint64, error) {
	var stat unix.Statfs_t
	if err := unix.Statfs(dir, &stat); err != nil {
		return 0, err
	}
	return uint64(stat.Bavail) * uint64(stat.Bsize), nil
}
