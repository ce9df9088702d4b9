package archive

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
)

// Unpacked is where the parts of an archive lie, beneath the directory that it was
// unpacked into.
type Unpacked struct {
	Manifest
	Sessions string   // the files of the thread lie beneath it
	Threads  []string // by their paths there
	Work     string   // the workspace; empty: the archive has none
}

// Read unpacks an archive into a directory that is empty: files are 0600, or 0700
// where they can be run, directories 0700. After an error what was unpacked is to
// be removed, and without one it is not on the disk for certain. Errors: *Error; those of the disk.
func Read(r io.Reader, dir string, limits Limits) (Unpacked, error) {
	zipped, err := gzip.NewReader(r)
	if err != nil {
		return Unpacked{}, damaged(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return Unpacked{}, err
	}
	defer root.Close()
	u := &unpacker{root: root, in: tar.NewReader(zipped), limits: limits, dirs: map[string]bool{}}
	if err := u.manifest(); err != nil {
		return Unpacked{}, err
	}
	for {
		header, err := u.in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return Unpacked{}, damaged(err)
		}
		if err := u.entry(header); err != nil {
			return Unpacked{}, err
		}
	}
	// The checksum stands at the very end, and no more than a tar's padding before it.
	if n, err := io.Copy(io.Discard, io.LimitReader(zipped, 1<<20)); err != nil || n == 1<<20 {
		return Unpacked{}, damaged(err)
	}
	return u.result(dir)
}

// damaged tells what the reader says about an archive from what the disk says.
func damaged(err error) error {
	if path := (*fs.PathError)(nil); errors.As(err, &path) {
		return err
	}
	return &Error{Problem: "is damaged, cut off, or none"}
}

type unpacker struct {
	root    *os.Root
	in      *tar.Reader
	limits  Limits
	bytes   int64
	entries int
	dirs    map[string]bool // that were unpacked: real ones, not links to some
	threads []string
	m       Manifest
}

func (u *unpacker) manifest() error {
	header, err := u.in.Next()
	if err != nil {
		return damaged(err)
	}
	if header.Name != manifestName || header.Typeflag != tar.TypeReg || header.Size > maxManifest {
		return &Error{Problem: "is none of a session"}
	}
	content, err := io.ReadAll(u.in)
	if err != nil {
		return damaged(err)
	}
	u.m, err = parseManifest(content)
	return err
}

func (u *unpacker) entry(h *tar.Header) error {
	if u.entries++; u.entries > u.limits.Entries {
		return &Error{Problem: "has too many entries"}
	}
	dir, rel, err := place(h.Name)
	if err != nil {
		return &Error{h.Name, err.Error()}
	}
	name := path.Join(dir, rel)
	if parent := path.Dir(name); parent != "." && !u.dirs[parent] {
		return &Error{h.Name, "lies in no directory of the archive"}
	}
	switch {
	case h.Typeflag == tar.TypeDir:
		u.dirs[name] = true
		return u.made(h, u.root.Mkdir(filepath.FromSlash(name), 0o700))
	case h.Typeflag == tar.TypeReg && rel != "":
		if dir == threadDir {
			u.threads = append(u.threads, rel)
		}
		return u.file(h, name)
	case h.Typeflag == tar.TypeSymlink && rel != "" && dir == workDir:
		if !inside(rel, h.Linkname) {
			return &Error{h.Name, "is a link out of the workspace"}
		}
		return u.made(h, u.root.Symlink(filepath.FromSlash(h.Linkname), filepath.FromSlash(name)))
	}
	return &Error{h.Name, "is of a kind that no session has"}
}

// made judges why an entry could not be made.
func (u *unpacker) made(h *tar.Header, err error) error {
	if errors.Is(err, fs.ErrExist) {
		return &Error{h.Name, "is there twice"}
	}
	return err
}

func (u *unpacker) file(h *tar.Header, name string) error {
	if h.Size > u.limits.Bytes-u.bytes {
		return &Error{Problem: "is larger than allowed"}
	}
	u.bytes += h.Size
	mode := fs.FileMode(0o600) | fs.FileMode(h.Mode)&0o100
	local := filepath.FromSlash(name)
	file, err := u.root.OpenFile(local, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return u.made(h, err)
	}
	n, err := io.Copy(file, u.in)
	if err == nil && n != h.Size {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		err = damaged(err)
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	return u.root.Chtimes(local, h.ModTime, h.ModTime)
}

// result checks that the archive has what its manifest says.
func (u *unpacker) result(dir string) (Unpacked, error) {
	result := Unpacked{Manifest: u.m, Sessions: filepath.Join(dir, threadDir), Threads: u.threads}
	found, err := Threads(result.Sessions, u.m.ThreadID)
	if err != nil && !errors.Is(err, ErrNoThread) {
		return Unpacked{}, err
	}
	switch {
	case len(found) == 0 || len(found) != len(u.threads):
		return Unpacked{}, &Error{Problem: "holds no thread, or another one than it says"}
	case u.dirs[workDir] != u.m.Workspace:
		return Unpacked{}, &Error{Problem: "does not hold the workspace that it says it holds"}
	}
	if u.m.Workspace {
		result.Work = filepath.Join(dir, workDir)
	}
	return result, nil
}
