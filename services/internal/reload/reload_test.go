package reload_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"telecodex.dev/services/internal/reload"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// join makes one text of the files; one that holds "broken" cannot be used.
func join(contents [][]byte) (string, error) {
	var all []string
	for _, text := range contents {
		if string(text) == "broken" {
			return "", errors.New("is broken")
		}
		all = append(all, string(text))
	}
	return strings.Join(all, "+"), nil
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := errors.Join(os.WriteFile(path, []byte(text), 0o600), os.Chtimes(path, time.Now(), time.Now())); err != nil { // by the test's clock
		t.Fatal(err)
	}
}

func TestFilesAreReadAnewWhenTheyChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
		write(t, a, "1")
		write(t, b, "1")
		core, logs := observer.New(zap.DebugLevel)
		f, err := reload.Open(zap.New(core), join, reload.File{Setting: "A", Path: a}, reload.File{Setting: "B", Path: b})
		if err != nil {
			t.Fatal(err)
		}
		for _, step := range []struct {
			name   string
			change func()
			want   string
			logged int
		}{
			{"as they were", func() {}, "1+1", 0},
			{"one changed", func() { write(t, b, "2") }, "1+2", 1},
			{"of the same length, at once", func() { write(t, b, "3") }, "1+3", 2},
			{"broken", func() { write(t, a, "broken") }, "1+3", 3},
			{"still broken", func() {}, "1+3", 3},
			{"gone", func() { os.Remove(a) }, "1+3", 4},
			{"still gone", func() {}, "1+3", 4},
			{"back as it was", func() { write(t, a, "1") }, "1+3", 5},
			{"mended", func() { write(t, a, "4") }, "4+3", 6},
			{"too large", func() { write(t, a, strings.Repeat("x", 1<<20+1)) }, "4+3", 7},
		} {
			step.change()
			time.Sleep(time.Second)
			if got := f.Get(); got != step.want || logs.Len() != step.logged {
				t.Errorf("%s: %q, %d lines; want %q, %d", step.name, got, logs.Len(), step.want, step.logged)
			}
		}
	})
}

// A writer may be seen at its work: what it has written so far is never used, and not
// complained of.
func TestAHalfWrittenFileIsNotUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "a")
		write(t, path, "old")
		core, logs := observer.New(zap.WarnLevel)
		f, err := reload.Open(zap.New(core), join, reload.File{Path: path})
		if err != nil {
			t.Fatal(err)
		}
		want := func(from, to string) {
			t.Helper()
			for range 8 {
				time.Sleep(100 * time.Millisecond)
				if got := f.Get(); got != from && got != to {
					t.Fatalf("in use: %q", got)
				}
			}
		}
		for _, half := range []string{"", "broken", "half of a new"} {
			write(t, path, half)
			want("old", "old")
		}
		write(t, path, "half of a new one")
		for range 3 {
			want("old", "half of a new one")
		}
		if got := f.Get(); got != "half of a new one" || logs.Len() > 0 {
			t.Errorf("in use: %q, complained of %d times", got, logs.Len())
		}
	})
}

// Where a file's times say nothing, what is seen twice is used.
func TestAFileFromTheFutureIsUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "a")
		write(t, path, "old")
		f, err := reload.Open(zap.NewNop(), join, reload.File{Path: path})
		if err != nil {
			t.Fatal(err)
		}
		write(t, path, "new")
		later := time.Now().Add(time.Hour)
		if err := os.Chtimes(path, later, later); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"old", "new"} {
			time.Sleep(time.Second)
			if got := f.Get(); got != want {
				t.Errorf("in use: %q, want %q", got, want)
			}
		}
	})
}

func TestFilesAreLookedAtOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "a")
		write(t, path, "1")
		f, err := reload.Open(zap.NewNop(), join, reload.File{Setting: "NAME_OF_SETTING", Path: path})
		if err != nil {
			t.Fatal(err)
		}
		write(t, path, "2")
		time.Sleep(time.Second - 1)
		if got := f.Get(); got != "1" {
			t.Errorf("read within the second: %q", got)
		}
		time.Sleep(time.Nanosecond)
		if got := f.Get(); got != "2" {
			t.Errorf("not read after it: %q", got)
		}
	})
}

// A volume of Kubernetes is a link to a directory that is swapped for another.
func TestSwappedLinksAreFollowed(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("not on windows: links need a privilege there")
	}
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		for _, version := range []string{"1", "2"} {
			if err := os.Mkdir(filepath.Join(dir, version), 0o700); err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(dir, version, "file"), version)
		}
		link := func(old, name string) {
			if err := os.Symlink(old, filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
		link("1", "..data")
		link(filepath.Join("..data", "file"), "file")
		f, err := reload.Open(zap.NewNop(), join, reload.File{Path: filepath.Join(dir, "file")})
		if err != nil || f.Get() != "1" {
			t.Fatalf("%v", err)
		}
		link("2", "..new")
		if err := os.Rename(filepath.Join(dir, "..new"), filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if got := f.Get(); got != "2" {
			t.Errorf("after the swap: %q", got)
		}
	})
}

func TestUnusableFilesAreRefusedAtTheStart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	if _, err := reload.Open(zap.NewNop(), join, reload.File{Setting: "NAME_OF_SETTING", Path: path}); err == nil || !strings.Contains(err.Error(), path) || !strings.HasPrefix(err.Error(), "NAME_OF_SETTING cannot be read: ") {
		t.Errorf("a file that is not there: %v", err)
	}
	write(t, path, "broken")
	if _, err := reload.Open(zap.NewNop(), join, reload.File{Setting: "NAME_OF_SETTING", Path: path}); err == nil || err.Error() != "is broken" {
		t.Errorf("a broken file: %v", err)
	}
}
