package archive

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"telecodex.dev/services/orchestrator/internal/codex"
)

// Source is where a session lies on a worker's disk.
type Source struct {
	Sessions  string // beneath which Codex keeps its threads
	Workspace string // the session's own; it may be missing
}

// ErrNoThread says that Codex keeps no file of the thread.
var ErrNoThread = errors.New("no file of the session's thread is kept by Codex")

// Threads are the files of a thread beneath a directory of Codex's sessions, by
// their paths there: rollout-<time>-<thread id>.jsonl. Errors: ErrNoThread; those of
// the disk.
func Threads(sessions, threadID string) (files []string, err error) {
	if !codex.IsThreadID(threadID) { // a part of one would find the files of others
		return nil, ErrNoThread
	}
	err = filepath.WalkDir(sessions, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.Type().IsRegular() && strings.HasSuffix(entry.Name(), "-"+threadID+".jsonl") {
			rel, err := filepath.Rel(sessions, file)
			files = append(files, filepath.ToSlash(rel))
			return err
		}
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err == nil && len(files) == 0 {
		err = ErrNoThread
	}
	return files, err
}

// Write writes a session. What cannot be moved is left out and returned: links that
// lead out of the workspace, and what is neither file, directory nor link. Errors:
// ErrNoThread; those of the disk.
func Write(w io.Writer, m Manifest, from Source) (left []string, err error) {
	threads, err := Threads(from.Sessions, m.ThreadID)
	if err != nil {
		return nil, err
	}
	info, err := os.Lstat(from.Workspace)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	m.Version, m.Workspace = Version, err == nil && info.IsDir()
	zipped := gzip.NewWriter(w)
	out := &writer{Writer: tar.NewWriter(zipped), dirs: map[string]bool{}}
	if err := out.manifest(m); err != nil {
		return nil, err
	}
	for _, file := range threads {
		if err := out.thread(from.Sessions, file); err != nil {
			return nil, err
		}
	}
	if m.Workspace {
		if err := out.workspace(from.Workspace); err != nil {
			return nil, err
		}
	}
	return out.left, errors.Join(out.Close(), zipped.Close())
}

type writer struct {
	*tar.Writer
	dirs map[string]bool
	left []string
}

func (w *writer) manifest(m Manifest) error {
	content, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return errors.Join(w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: manifestName, Mode: 0o600, Size: int64(len(content)), ModTime: m.ExportedAt}),
		w.content(strings.NewReader(string(content))))
}

func (w *writer) content(r io.Reader) error { _, err := io.Copy(w.Writer, r); return err }

// dir writes a directory and those above it, once.
func (w *writer) dir(name string) error {
	if name == "." || w.dirs[name] {
		return nil
	}
	if err := w.dir(path.Dir(name)); err != nil {
		return err
	}
	w.dirs[name] = true
	return w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o700})
}

func (w *writer) thread(sessions, file string) error {
	name := path.Join(threadDir, file)
	if err := w.dir(path.Dir(name)); err != nil {
		return err
	}
	return w.file(name, filepath.Join(sessions, filepath.FromSlash(file)))
}

func (w *writer) workspace(dir string) error {
	return filepath.WalkDir(dir, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, file)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		name := path.Join(workDir, rel)
		switch {
		case len(name) > maxName, strings.Contains(rel, "\\"):
		case entry.IsDir():
			return w.dir(name)
		case entry.Type().IsRegular():
			return w.file(name, file)
		case entry.Type() == fs.ModeSymlink:
			target, err := os.Readlink(file)
			if err != nil {
				return err
			}
			if target = filepath.ToSlash(target); inside(rel, target) {
				return w.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o700})
			}
		}
		w.left = append(w.left, rel)
		return nil
	})
}

func (w *writer) file(name, path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is no file any more", path)
	}
	header := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: int64(0o600 | info.Mode()&0o100), Size: info.Size(), ModTime: info.ModTime()}
	// A file that grows meanwhile is none that nobody writes to: then its size is exceeded, which is an error.
	return errors.Join(w.WriteHeader(header), w.content(file))
}
