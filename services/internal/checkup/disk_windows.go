package checkup

import (
	"os"

	"golang.org/x/sys/windows"
)

// mayWrite cannot be asked here without writing; that the directory can be read
// has to do.
func mayWrite(dir string) error {
	_, err := os.ReadDir(dir)
	return err
}

// freeSpace is what this user may still write, in bytes.
func freeSpace(dir string) (free uint64, err error) {
	path, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return 0, err
	}
	return free, windows.GetDiskFreeSpaceEx(path, &free, nil, nil)
}
