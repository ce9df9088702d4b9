// Package diskfile does with files what has to hold whatever crashes: it replaces one
// as a whole, and locks one for as long as its holder lives.
package diskfile

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
)

// Replace writes a file (mode 0600) such that a crash at any point leaves the old
// content or the new one. There may be one writer at a time. Missing directories are
// made with mode 0700.
func Replace(path string, content []byte) error {
	return Write(path, func(w io.Writer) error {
		_, err := w.Write(content)
		return err
	})
}

// Write is Replace for content that is written piece by piece. After an error the
// old content is there.
func Write(path string, write func(io.Writer) error) (err error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	temporary := path + ".tmp" // a name of its own each time would pile up files
	// What lies there, perhaps a link, is nothing to be written into; a directory was
	// never left by this.
	switch info, err := os.Lstat(temporary); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case info.IsDir():
		return &fs.PathError{Op: "open", Path: temporary, Err: syscall.EISDIR}
	default:
		if err := os.Remove(temporary); err != nil {
			return err
		}
	}
	file, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err = write(file); err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Rename(temporary, path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temporary))
	}
	return SyncDir(dir)
}

// SyncDir makes what was made, renamed and removed in a directory durable. Windows has
// no such call, and needs none.
func SyncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
