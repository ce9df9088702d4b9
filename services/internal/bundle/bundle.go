// Package bundle packs files so that the same files always make the same bytes:
// in the order of their names, all of one time, of nobody, executable or not.
// Releases are made with it on any system, and checked by making them again.
package bundle

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"
)

// Pack writes the regular files beneath dir to w, each named prefix/… in the
// archive. Files that anyone may execute are 0755, others 0644; everything has the
// time at. The kind is that of the name: .tar.gz or .zip. Errors: those of reading
// and writing, and of what is neither a file nor a directory.
func Pack(w io.Writer, name, dir, prefix string, at time.Time) error {
	pack, finish, err := packer(w, name, at.UTC().Truncate(time.Second))
	if err != nil {
		return err
	}
	// WalkDir goes in the order of names.
	err = filepath.WalkDir(dir, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		relative, err := filepath.Rel(dir, file)
		if err != nil {
			return err
		}
		return add(pack, file, path.Join(prefix, filepath.ToSlash(relative)))
	})
	return errors.Join(err, finish())
}

// add opens a file for one entry.
func add(pack packing, file, name string) error {
	info, err := os.Lstat(file)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is no regular file", file)
	}
	mode := fs.FileMode(0o644)
	if info.Mode()&0o111 != 0 || strings.HasSuffix(name, ".exe") {
		mode = 0o755
	}
	content, err := os.Open(file)
	if err != nil {
		return err
	}
	defer content.Close()
	to, err := pack(name, mode, info.Size())
	if err == nil {
		_, err = io.Copy(to, content)
	}
	return err
}

// packing begins an entry and returns where its content goes.
type packing func(name string, mode fs.FileMode, size int64) (io.Writer, error)

func packer(w io.Writer, name string, at time.Time) (packing, func() error, error) {
	switch {
	case strings.HasSuffix(name, ".tar.gz"):
		compressed, err := gzip.NewWriterLevel(w, gzip.BestCompression)
		if err != nil {
			return nil, nil, err
		}
		files := tar.NewWriter(compressed)
		return func(name string, mode fs.FileMode, size int64) (io.Writer, error) {
			return files, files.WriteHeader(&tar.Header{Name: name, Mode: int64(mode), Size: size, ModTime: at, Typeflag: tar.TypeReg, Format: tar.FormatPAX})
		}, func() error { return errors.Join(files.Close(), compressed.Close()) }, nil
	case strings.HasSuffix(name, ".zip"):
		files := zip.NewWriter(w)
		return func(name string, mode fs.FileMode, _ int64) (io.Writer, error) {
			header := &zip.FileHeader{Name: name, Method: zip.Deflate, Modified: at}
			header.SetMode(mode)
			return files.CreateHeader(header)
		}, files.Close, nil
	}
	return nil, nil, fmt.Errorf("%s is neither .tar.gz nor .zip", name)
}
