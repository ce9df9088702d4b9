// Package reload keeps what was made of files in step with them: certificates,
// keys and tokens are replaced while a service runs. It looks when it is asked,
// so that nothing runs in the background, and compares what the files hold, so
// that it does not matter how they were replaced: written over, renamed, or by the
// symbolic links of a Kubernetes volume. What somebody may still be writing is not
// used yet, and what cannot be used replaces nothing.
package reload

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

const (
	// every is how often files are looked at, at most, and how long nobody may have
	// written to them before what they hold is used.
	every = time.Second
	// maxFile is far beyond any bundle of certificates: what is larger is another
	// file.
	maxFile = 1 << 20
)

// File is a file, and the setting that names it.
type File struct{ Setting, Path string }

// Files are files and what was made of them.
type Files[T any] struct {
	files   []File
	parse   func(contents [][]byte) (T, error)
	log     *zap.Logger
	current atomic.Pointer[T]

	mu     sync.Mutex // held by who looks
	looked time.Time
	seen   string // digest of what was judged last, or why nothing could be read
	fresh  string // digest of what was read last, when somebody had just written it
}

// Open reads the files, each at most 1 MiB, and has parse make of their contents,
// in the same order, what Get returns. parse's errors are for an operator, must
// name what is wrong, and must not quote what the files hold.
func Open[T any](log *zap.Logger, parse func(contents [][]byte) (T, error), files ...File) (*Files[T], error) {
	f := &Files[T]{files: files, parse: parse, log: log, looked: time.Now()}
	contents, _, err := read(files)
	if err != nil {
		return nil, err
	}
	made, err := parse(contents)
	if err != nil {
		return nil, err
	}
	f.seen = digest(contents)
	f.current.Store(&made)
	return f, nil
}

// Get returns what was made of the files as they are, or were two seconds ago. While
// they cannot be used it is what they were before, and the log says so once.
func (f *Files[T]) Get() T {
	// Who finds somebody looking does not wait: a disk may not answer.
	if f.mu.TryLock() {
		defer f.mu.Unlock()
		if now := time.Now(); now.Sub(f.looked) >= every {
			f.look()
			f.looked = now
		}
	}
	return *f.current.Load()
}

// look reads the files again.
func (f *Files[T]) look() {
	contents, written, err := read(f.files)
	if err != nil {
		f.keep(err.Error(), err)
		return
	}
	now := digest(contents)
	if now == f.seen {
		return
	}
	// Its time may say nothing, on a volume with a clock of its own: what is the same
	// the next time is used as well.
	if now != f.fresh && time.Since(written) < every {
		f.fresh = now
		return
	}
	made, err := f.parse(contents)
	if err != nil {
		f.keep(now, err)
		return
	}
	f.seen = now
	f.current.Store(&made)
	f.log.Info("files have changed and are in use", f.names())
}

func (f *Files[T]) keep(seen string, err error) {
	if f.seen != seen {
		f.seen = seen
		f.log.Warn("files cannot be used; what they held before stays in use", f.names(), zap.Error(err))
	}
}

// names are the files for the log.
func (f *Files[T]) names() zap.Field {
	paths := make([]string, len(f.files))
	for i, file := range f.files {
		paths[i] = file.Path
	}
	return zap.Strings("files", paths)
}

// read is what the files hold, and when the last of them was written.
func read(files []File) (contents [][]byte, written time.Time, err error) {
	contents = make([][]byte, len(files))
	for i, file := range files {
		text, at, err := readOne(file.Path)
		if err != nil {
			return nil, written, fmt.Errorf("%s cannot be read: %w", file.Setting, err)
		}
		if contents[i] = text; at.After(written) {
			written = at
		}
	}
	return contents, written, nil
}

func readOne(path string) (text []byte, written time.Time, err error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, written, err
	}
	defer file.Close()
	if text, err = io.ReadAll(io.LimitReader(file, maxFile+1)); err != nil {
		return nil, written, err
	}
	if len(text) > maxFile {
		return nil, written, fmt.Errorf("%s is larger than %d bytes", path, maxFile)
	}
	info, err := file.Stat() // after reading: what is written meanwhile counts
	if err != nil {
		return nil, written, err
	}
	return text, info.ModTime(), nil
}

// digest tells contents apart; a boundary between files counts too.
func digest(contents [][]byte) string {
	all := sha256.New()
	for _, text := range contents {
		sum := sha256.Sum256(text)
		all.Write(sum[:])
	}
	return string(all.Sum(nil))
}
