// Package diskfile does with files what has to hold whatever crashes: it replaces one
// as a whole, and locks one for as long as its holder lives.
package diskfile

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
)

// Replace writes a file (mode 0600) such that a crash at any point leaves the old
// content or the new one. There may be one writer at a time. Missing directories are
// made with mode 0700.
func Replace(path string, content []byte) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	temporary := path + ".tmp" // a name of its own each time would pile up files
	file, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	if err := os.Rename(temporary, path); err != nil {
		return err
	}
	return syncDir(dir)
}

// syncDir makes a rename durable. Windows has no such call, and needs none.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
