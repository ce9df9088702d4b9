package checkup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

// Space below which a disk is said to be short of it, in bytes.
const (
	littleSpace = 1 << 30
	tooLittle   = 100 << 20
	probeSize   = 64 << 10
)

// Directory says whether files in a directory can be written such that they
// outlast a power cut, and how much room there is. The directory need not exist
// yet; nothing stays behind. One that is in use is only looked at. mend says how
// to choose another.
func Directory(name, dir string, inUse bool, mend string) []Finding {
	existing, err := nearest(dir)
	if err != nil {
		return []Finding{Broken(name, fmt.Sprintf("%s: %v", dir, cause(err)), mend)}
	}
	var took time.Duration
	if inUse {
		err = mayWrite(existing)
	} else {
		took, err = probe(existing)
	}
	space := room(name+" disk", existing)
	switch {
	case isFull(err):
		return []Finding{Broken(name, fmt.Sprintf("%s: the disk is full", dir), "make room, or "+mend), space}
	case err != nil:
		return []Finding{Broken(name, fmt.Sprintf("%s cannot be written: %v", existing, cause(err)), "let this user write there, or "+mend), space}
	}
	detail := fmt.Sprintf("%s: a write was on the disk after %s", dir, took.Round(10*time.Microsecond))
	if inUse {
		detail = dir + ": in use, so it was only looked at"
	} else if existing != filepath.Clean(dir) && existing != absolute(dir) {
		detail += "; it will be made"
	}
	if kind := fileSystem(existing); kind != "" {
		return []Finding{Doubtful(name, detail+"; "+kind, "use a disk that lasts: "+mend), space}
	}
	return []Finding{Well(name, "%s", detail), space}
}

// Present says whether a directory is there and this user may write to it, and
// writes nothing: others may be using it. mend says how to choose another.
func Present(name, dir, mend string) Finding {
	info, err := os.Stat(dir)
	if err == nil && !info.IsDir() {
		err = errors.New("not a directory")
	}
	if err == nil {
		err = mayWrite(dir)
	}
	if err != nil {
		return Broken(name, fmt.Sprintf("%s: %v", dir, cause(err)), mend)
	}
	return Well(name, "%s", dir)
}

// absolute is a path from the root, or as it is where there is no working
// directory.
func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// nearest is the directory, or the first above it that exists.
func nearest(dir string) (string, error) {
	for dir = absolute(dir); ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		switch {
		case err == nil && !info.IsDir():
			return "", fmt.Errorf("%s is not a directory", dir)
		case err == nil:
			return dir, nil
		case !errors.Is(err, fs.ErrNotExist) || dir == filepath.Dir(dir):
			return "", err
		}
	}
}

// probe writes a file as the programs do: it is on the disk, then it gets its
// name, and that is on the disk too. It takes the file away again.
func probe(dir string) (took time.Duration, err error) {
	started := time.Now()
	file, err := os.CreateTemp(dir, ".doctor-*")
	if err != nil {
		return 0, err
	}
	name := file.Name()
	defer func() { err = errors.Join(err, os.Remove(name)) }()
	_, err = file.Write(make([]byte, probeSize))
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return 0, err
	}
	if err := os.Rename(name, name+".renamed"); err != nil {
		return 0, err
	}
	name += ".renamed"
	if runtime.GOOS != "windows" { // which has no such call, and needs none
		opened, err := os.Open(dir)
		if err != nil {
			return 0, err
		}
		if err := errors.Join(opened.Sync(), opened.Close()); err != nil {
			return 0, err
		}
	}
	return time.Since(started), nil
}

// room judges the free space of the disk beneath a directory.
func room(name, dir string) Finding {
	free, err := freeSpace(dir)
	if err != nil {
		return Doubtful(name, fmt.Sprintf("the free space of %s is not known: %v", dir, cause(err)), "look at it with df")
	}
	return roomFor(name, dir, free)
}

func roomFor(name, dir string, free uint64) Finding {
	detail := fmt.Sprintf("%s: %s free", dir, size(free))
	switch {
	case free < tooLittle:
		return Broken(name, detail, "make room: with a full disk nothing is taken from Telegram any more, and turns fail")
	case free < littleSpace:
		return Doubtful(name, detail, "make room before it is full")
	}
	return Well(name, "%s", detail)
}

func size(bytes uint64) string {
	if bytes < 1<<30 {
		return fmt.Sprintf("%d MiB", bytes>>20)
	}
	return fmt.Sprintf("%d GiB", bytes>>30)
}

// isFull also knows a limit on the size of files, which is what a full disk
// looks like to a process that has one.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EFBIG) || errors.Is(err, syscall.EDQUOT)
}

// cause leaves out the path, which is named already.
func cause(err error) error {
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		return path.Err
	}
	return err
}
