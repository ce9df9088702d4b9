//go:build compose

package compose_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// rootfs becomes an image that stands in for a public one, where no registry is
// reached: programs of this machine, and what they need.
type rootfs struct {
	t   *testing.T
	top string
}

func newRootfs(t *testing.T) rootfs { return rootfs{t, t.TempDir()} }

// write puts a file in its place.
func (r rootfs) write(path string, content []byte, mode os.FileMode) {
	r.t.Helper()
	path = filepath.Join(r.top, path)
	err := os.MkdirAll(filepath.Dir(path), 0o755)
	if err == nil {
		err = os.WriteFile(path, content, mode)
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// dir makes a directory that the image's user owns.
func (r rootfs) dir(path string) {
	r.t.Helper()
	if err := os.MkdirAll(filepath.Join(r.top, path), 0o755); err != nil {
		r.t.Fatal(err)
	}
}

// copied copies a file of this machine.
func (r rootfs) copied(from, to string) {
	r.t.Helper()
	content, err := os.ReadFile(from)
	if err != nil {
		r.t.Fatal(err)
	}
	r.write(to, content, 0o755)
}

// program copies a program, or a library, of this machine, and the libraries it is
// linked to.
func (r rootfs) program(from, to string) {
	r.t.Helper()
	libraries, err := command(r.t.Context(), nil, "ldd", from)
	if err != nil && !strings.Contains(err.Error(), "not a dynamic executable") {
		r.t.Fatal(err)
	}
	r.copied(from, to)
	for _, library := range regexp.MustCompile(`/\S+`).FindAllString(libraries, -1) {
		r.copied(library, library)
	}
}

// image makes the image, whose files are a user's. It is removed after the test.
func (r rootfs) image(name string, user int, changes ...string) string {
	r.t.Helper()
	r.t.Cleanup(func() {
		if _, err := command(context.Background(), nil, "docker", "image", "rm", "--force", name); err != nil {
			r.t.Error(err)
		}
	})
	args := []string{"-c", fmt.Sprintf(`top=$1; shift; tar --create --owner=%d --group=%d --directory="$top" . | docker import "$@"`, user, user), "sh", r.top}
	for _, change := range changes {
		args = append(args, "--change", change)
	}
	must(r.t, nil, "sh", append(args, "-", name)...)
	return name
}
