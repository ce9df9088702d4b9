package sqldb_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"telecodex.dev/services/internal/sqldb"
)

// lockFile names, in the environment of a child, the lock it is to hold until it
// is killed.
const lockFile = "TELECODEX_TEST_LOCK"

func TestMain(m *testing.M) {
	if path := os.Getenv(lockFile); path != "" {
		_, err := sqldb.TryLock(path)
		fmt.Println(err)
		_, _ = os.Stdin.Read(make([]byte, 1)) // for ever: nothing is written to it
		return
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(server.Exit))
}

func TestLockHasOneHolder(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "deeper", "x.lock")
	lock, err := sqldb.TryLock(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sqldb.TryLock(path); !errors.Is(err, sqldb.ErrLocked) {
		t.Errorf("a second holder in the same process: %v", err)
	}
	if err := lock.Unlock(); err != nil {
		t.Fatal(err)
	}
	lock, err = sqldb.TryLock(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := lock.Unlock(); err != nil {
		t.Fatal(err)
	}
}

func TestLockNamesWhyItCannotBeTaken(t *testing.T) {
	t.Parallel()
	blocked := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var failed *sqldb.Error
	for _, path := range []string{filepath.Join(blocked, "x.lock"), t.TempDir()} {
		if _, err := sqldb.TryLock(path); !errors.As(err, &failed) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestLockIsFreeOnceItsHolderIsKilled(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.lock")
	holder := exec.CommandContext(t.Context(), os.Args[0])
	holder.Env = append(os.Environ(), lockFile+"="+path)
	in, err := holder.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "<nil>\n" {
		t.Errorf("the holder says %q, %v", line, err)
	}
	if _, err := sqldb.TryLock(path); !errors.Is(err, sqldb.ErrLocked) {
		t.Errorf("while the holder lives: %v", err)
	}
	if err := holder.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := holder.Wait(); err == nil {
		t.Error("the holder ended by itself")
	}
	lock, err := sqldb.TryLock(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := lock.Unlock(); err != nil {
		t.Error(err)
	}
}

func TestLockedAsksAndLeavesNothing(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.lock")
	ask := func(want bool) {
		t.Helper()
		if held, err := sqldb.Locked(path); held != want || err != nil {
			t.Fatalf("Locked() = %v, %v", held, err)
		}
	}
	ask(false)
	if _, err := os.Stat(path); err == nil {
		t.Fatal("a file was left")
	}
	lock, err := sqldb.TryLock(path)
	if err != nil {
		t.Fatal(err)
	}
	ask(true)
	if err := lock.Unlock(); err != nil {
		t.Fatal(err)
	}
	ask(false)
	if lock, err = sqldb.TryLock(path); err != nil {
		t.Fatalf("who asked kept it: %v", err)
	}
	if err := lock.Unlock(); err != nil {
		t.Fatal(err)
	}
}
