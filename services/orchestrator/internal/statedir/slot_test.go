package statedir_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"telecodex.dev/services/orchestrator/internal/statedir"
)

func TestEachWorkerTakesTheLowestFreeSlot(t *testing.T) {
	synctest.Test(t, eachTakesTheLowest)
}

func eachTakesTheLowest(t *testing.T) {
	volume := filepath.Join(t.TempDir(), "workers")
	take := func(want string) *statedir.Dir {
		t.Helper()
		dir, err := statedir.OpenSlot(volume)
		if err != nil {
			t.Fatal(err)
		}
		if got := filepath.Base(dir.Path()); got != want {
			t.Errorf("slot %s, want %s", got, want)
		}
		return dir
	}
	leave := func(dir *statedir.Dir) {
		t.Helper()
		if err := dir.Close(); err != nil {
			t.Fatal(err)
		}
	}
	first, second, third := take("1"), take("2"), take("3")
	leave(second)
	again := take("2")
	if again.WorkerID() != second.WorkerID() || first.WorkerID() == third.WorkerID() {
		t.Errorf("ids %s, %s and %s; slot 2 was taken again as %s", first.WorkerID(), second.WorkerID(), third.WorkerID(), again.WorkerID())
	}
	leave(third)
	leave(again)
	leave(first)
}

// A worker that was killed may have left its lock to a child for a moment: its slot is
// its successor's, with the conversations that are in it.
func TestASlotIsNotMadeForOneThatIsAboutToBeFree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		volume := t.TempDir()
		open := func(want string, within time.Duration) *statedir.Dir {
			t.Helper()
			began := time.Now()
			dir, err := statedir.OpenSlot(volume)
			if err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); filepath.Base(dir.Path()) != want || took > within {
				t.Errorf("slot %s after %v; want %s within %v", filepath.Base(dir.Path()), took, want, within)
			}
			return dir
		}
		killed := open("1", 0)
		gone := make(chan error, 1)
		time.AfterFunc(900*time.Millisecond, func() { gone <- killed.Close() })
		first := open("1", time.Second)
		second := open("2", 2*time.Second) // a new one, once nothing is free
		if err := errors.Join(<-gone, second.Close()); err != nil {
			t.Fatal(err)
		}
		second = open("2", 0) // one that has served before is waited for by nobody
		if err := errors.Join(first.Close(), second.Close()); err != nil {
			t.Fatal(err)
		}
	})
}

func TestWorkersThatStartAtOnceShareNoSlot(t *testing.T) {
	volume := t.TempDir()
	const workers = 20
	dirs := make([]*statedir.Dir, workers)
	var all sync.WaitGroup
	for i := range dirs {
		all.Go(func() {
			var err error
			if dirs[i], err = statedir.OpenSlot(volume); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	seen := map[string]bool{}
	for _, dir := range dirs {
		if dir == nil {
			continue
		}
		seen[dir.WorkerID()] = true
		if err := dir.Close(); err != nil {
			t.Error(err)
		}
	}
	if len(seen) != workers {
		t.Errorf("%d workers for %d starts", len(seen), workers)
	}
}

func TestASlotThatCannotBeOpenedIsSaid(t *testing.T) {
	volume := t.TempDir()
	if err := os.WriteFile(filepath.Join(volume, "1"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if dir, err := statedir.OpenSlot(volume); err == nil {
		t.Errorf("opened %s", dir.Path())
	}
}

func TestACodexHomeOfItsOwnSharesWhatPeopleWrite(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("not on windows: symbolic links need a privilege there")
	}
	volume, login := t.TempDir(), filepath.Join(t.TempDir(), "login")
	dir, err := statedir.OpenSlot(volume)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	home, err := dir.CodexHome(login)
	if err != nil {
		t.Fatal(err)
	}
	read := func(name, want string) {
		t.Helper()
		if text, err := os.ReadFile(filepath.Join(home, name)); err != nil || string(text) != want {
			t.Errorf("%s: %q, %v; want %q", name, text, err, want)
		}
	}
	if _, err := os.ReadFile(filepath.Join(home, "auth.json")); !os.IsNotExist(err) {
		t.Errorf("before a login: %v", err)
	}
	// A login after the start is seen, and what Codex writes goes back.
	write := func(path, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(login, "auth.json"), "token")
	read("auth.json", "token")
	write(filepath.Join(home, "auth.json"), "refreshed")
	if text, err := os.ReadFile(filepath.Join(login, "auth.json")); err != nil || string(text) != "refreshed" {
		t.Errorf("%q, %v", text, err)
	}
	// Another login takes its place; a file of the slot's own stays.
	if err := os.Remove(filepath.Join(home, "config.toml")); err != nil {
		t.Fatal(err)
	}
	write(filepath.Join(home, "config.toml"), "own")
	other := filepath.Join(t.TempDir(), "other")
	write(filepath.Join(other, "auth.json"), "other")
	if _, err := dir.CodexHome(other); err != nil {
		t.Fatal(err)
	}
	read("auth.json", "other")
	read("config.toml", "own")
}
