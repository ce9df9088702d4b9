package statedir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"telecodex.dev/services/internal/diskfile"
)

// maxSlots is how many workers a volume can have: far more than one machine runs.
const maxSlots = 1000

// slotPause is how long is waited before the slots are tried again.
const slotPause = 20 * time.Millisecond

// OpenSlot opens the lowest of the directories 1, 2, 3 … beneath a volume that no
// other worker holds. Workers that share a volume need no names then: one that
// comes back, or another in its place, goes on with the sessions of the first
// slot that is free. The volume's file system must have locks that all of its
// workers see. Close gives the slot back. Errors: *LockedError when every slot is
// taken.
//
// A slot is made anew only when none has become free within a second: the worker
// whose slot this one is to go on with may have been killed just now, and leave its
// lock to a child for a moment.
func OpenSlot(volume string) (*Dir, error) {
	for deadline := time.Now().Add(diskfile.Patience); ; time.Sleep(slotPause) {
		dir, err := lowestSlot(volume, !time.Now().Before(deadline))
		if !errors.Is(err, errNoneFree) {
			return dir, err
		}
	}
}

// errNoneFree says that every slot that there is has a worker.
var errNoneFree = errors.New("every slot is taken")

// lowestSlot is the lowest slot that is free. It makes the first one, and another
// only where anew says so.
func lowestSlot(volume string, anew bool) (*Dir, error) {
	for n := 1; n <= maxSlots; n++ {
		path := filepath.Join(volume, strconv.Itoa(n))
		if _, err := Peek(path); n > 1 && !anew && errors.Is(err, fs.ErrNotExist) {
			return nil, errNoneFree
		}
		dir, err := openWithin(path, 0)
		var locked *LockedError
		if !errors.As(err, &locked) {
			return dir, err
		}
	}
	return nil, &LockedError{Path: filepath.Join(volume, strconv.Itoa(maxSlots))}
}

// Path is the state directory itself.
func (d *Dir) Path() string { return d.path }

// shared are the files of a CODEX_HOME that people write: login, configuration,
// instructions. The rest, threads above all, belongs to one worker.
var shared = [...]string{"auth.json", "config.toml", "AGENTS.md"}

// CodexHome makes the directory's own CODEX_HOME, and returns its path. What
// people write comes from login by symbolic links, which lead nowhere until it is
// written there; what the directory has of its own stays. login is made where it
// is missing: Codex does not begin, nor log in, without. An empty one is none.
func (d *Dir) CodexHome(login string) (string, error) {
	home := filepath.Join(d.path, "codex")
	if err := os.MkdirAll(home, 0o700); err != nil {
		return "", fmt.Errorf("state directory: %w", err)
	}
	if login == "" {
		return home, nil
	}
	if err := os.MkdirAll(login, 0o700); err != nil {
		return "", fmt.Errorf("login: %w", err)
	}
	for _, name := range shared {
		if err := link(filepath.Join(login, name), filepath.Join(home, name)); err != nil {
			return "", fmt.Errorf("state directory: %w", err)
		}
	}
	return home, nil
}

// link makes path a symbolic link to target, unless something else is there.
func link(target, path string) error {
	if known, err := os.Readlink(path); err == nil {
		if known == target {
			return nil
		}
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	if err := os.Symlink(target, path); !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}
