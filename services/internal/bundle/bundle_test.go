package bundle_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"telecodex.dev/services/internal/bundle"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tree makes the same files, at another place and another time.
func tree(t *testing.T, made time.Time) string {
	t.Helper()
	dir := t.TempDir()
	for name, mode := range map[string]os.FileMode{"bin/program": 0o700, "README.md": 0o600, "docs/a.md": 0o666} {
		path := filepath.Join(dir, filepath.FromSlash(name))
		err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte("content of "+name), mode), os.Chtimes(path, made, made))
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func run(t *testing.T, epoch string, args ...string) int {
	t.Helper()
	return bundle.Run(t.Context(), args, func(string) (string, bool) { return epoch, true }, io.Discard, t.Output())
}

func TestTheSameFilesMakeTheSameBytes(t *testing.T) {
	for _, name := range []string{"x_1.tar.gz", "x_1.zip"} {
		var made [2][]byte
		for i := range made {
			file := filepath.Join(t.TempDir(), name)
			if status := run(t, "1700000000", file, tree(t, time.Unix(int64(1000*i), 0))); status != 0 {
				t.Fatalf("status %d", status)
			}
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			made[i] = content
		}
		if len(made[0]) == 0 || !bytes.Equal(made[0], made[1]) {
			t.Errorf("%s: %d and %d bytes, and not the same", name, len(made[0]), len(made[1]))
		}
	}
}

func TestWhatAnArchiveHolds(t *testing.T) {
	if runtime.GOOS == "windows" {
		return // has no such modes
	}
	const want = "x/README.md 644 content of README.md|x/bin/program 755 content of bin/program|x/docs/a.md 644 content of docs/a.md"
	at := time.Unix(1700000000, 0)
	dir := tree(t, time.Unix(0, 0))
	var packed bytes.Buffer
	if err := bundle.Pack(&packed, "a.tar.gz", dir, "x", at); err != nil {
		t.Fatal(err)
	}
	if got := untar(t, &packed, at); got != want {
		t.Errorf("tar.gz: %s", got)
	}
	packed.Reset()
	if err := bundle.Pack(&packed, "a.zip", dir, "x", at); err != nil {
		t.Fatal(err)
	}
	if got := unzip(t, packed.Bytes(), at); got != want {
		t.Errorf("zip: %s", got)
	}
}

func untar(t *testing.T, r io.Reader, at time.Time) string {
	t.Helper()
	plain, err := gzip.NewReader(r)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for files := tar.NewReader(plain); ; {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			return strings.Join(found, "|")
		}
		content, readErr := io.ReadAll(files)
		if err := errors.Join(err, readErr); err != nil {
			t.Fatal(err)
		}
		if !header.ModTime.Equal(at) || header.Uid != 0 || header.Uname != "" {
			t.Errorf("%s is of %s and user %d", header.Name, header.ModTime, header.Uid)
		}
		found = append(found, header.Name+" "+mode(header.FileInfo().Mode())+" "+string(content))
	}
}

func unzip(t *testing.T, data []byte, at time.Time) string {
	t.Helper()
	files, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, file := range files.File {
		if !file.Modified.Equal(at) {
			t.Errorf("%s is of %s", file.Name, file.Modified)
		}
		opened, err := file.Open()
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(opened)
		if err := errors.Join(err, opened.Close()); err != nil {
			t.Fatal(err)
		}
		found = append(found, file.Name+" "+mode(file.Mode())+" "+string(content))
	}
	return strings.Join(found, "|")
}

func mode(m os.FileMode) string {
	if m.Perm() == 0o755 {
		return "755"
	}
	return "644"
}

func TestWhatCannotBePackedIsRefused(t *testing.T) {
	dir := tree(t, time.Unix(0, 0))
	if status := run(t, "", filepath.Join(t.TempDir(), "x.zip"), dir); status != 2 {
		t.Errorf("no time: status %d", status)
	}
	if status := run(t, "1", filepath.Join(t.TempDir(), "x.rar"), dir); status != 1 {
		t.Errorf("another kind: status %d", status)
	}
	if err := os.Symlink("README.md", filepath.Join(dir, "link")); err != nil {
		return // no symbolic links here
	}
	if status := run(t, "1", filepath.Join(t.TempDir(), "x.zip"), dir); status != 1 {
		t.Errorf("a link: status %d", status)
	}
}
