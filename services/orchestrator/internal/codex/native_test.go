package codex

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
)

// install lays out files beneath a new directory; content begins with #! where it
// is a script.
func install(t *testing.T, files ...string) string {
	t.Helper()
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		path := filepath.Join(root, filepath.FromSlash(file))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		content := "binary"
		if ext := filepath.Ext(file); ext == ".js" || ext == ".cmd" || ext == ".sh" {
			content = "#!/usr/bin/env node\n"
		}
		if err := os.WriteFile(path, []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func nativeIn(packages string) string {
	platform, triple, executable := nativePlatform()
	return packages + "/@openai/" + platform + "/vendor/" + triple + "/bin/" + executable
}

func link(t *testing.T, target, path string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, path); err != nil {
		if runtime.GOOS == "windows" {
			t.Skipf("not on windows: this account may not make symbolic links: %v", err)
		}
		t.Fatal(err)
	}
}

func TestNativeBehindTheNPMWrapper(t *testing.T) {
	const wrapper = "/@openai/codex/bin/codex.js"
	_, triple, executable := nativePlatform()
	for _, tc := range []struct {
		name, packages, native string
		link                   string // a symbolic link to the wrapper
		script                 string // a script of the package manager
	}{
		{name: "global npm", packages: "lib/node_modules", native: nativeIn("lib/node_modules"), link: "bin/codex"},
		{name: "nested npm", packages: "lib/node_modules", native: nativeIn("lib/node_modules/@openai/codex/node_modules"), link: "bin/codex"},
		{name: "local npm", packages: "node_modules", native: nativeIn("node_modules"), link: "node_modules/.bin/codex"},
		{name: "pnpm", packages: "store/node_modules", native: nativeIn("store/node_modules"), script: "bin/codex.sh"},
		{name: "npm on Windows", packages: "npm/node_modules", native: nativeIn("npm/node_modules"), script: "npm/codex.cmd"},
		{name: "vendored", packages: "lib/node_modules", native: "lib/node_modules/@openai/codex/vendor/" + triple + "/bin/" + executable, link: "bin/codex"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			files := []string{tc.packages + wrapper, tc.native}
			if tc.script != "" {
				files = append(files, tc.script)
			}
			root := install(t, files...)
			bin := filepath.Join(root, filepath.FromSlash(tc.script))
			if tc.link != "" {
				bin = filepath.Join(root, filepath.FromSlash(tc.link))
				link(t, filepath.Join(root, filepath.FromSlash(tc.packages+wrapper)), bin)
			}
			if tc.name == "pnpm" {
				link(t, filepath.Join(root, "store", "node_modules", "@openai", "codex"), filepath.Join(root, "bin", "node_modules", "@openai", "codex"))
			}
			got, err := ResolveNative(bin)
			if want := filepath.Join(root, filepath.FromSlash(tc.native)); err != nil || got != want {
				t.Errorf("got  %s, %v\nwant %s", got, err, want)
			}
		})
	}
}

func TestNativeIsMissing(t *testing.T) {
	root := install(t, "node_modules/@openai/codex/bin/codex.js")
	bin := filepath.Join(root, "node_modules", ".bin", "codex")
	link(t, filepath.Join(root, "node_modules", "@openai", "codex", "bin", "codex.js"), bin)
	if _, err := ResolveNative(bin); !errors.Is(err, ErrNoNative) {
		t.Errorf("got %v", err)
	}
}

func TestWhatIsNotTheWrapperIsLeftAlone(t *testing.T) {
	name := "codex"
	if runtime.GOOS == "windows" {
		name = "codex.exe"
	}
	root := install(t, name, "scripts/codex.sh")
	for _, file := range []string{name, filepath.Join("scripts", "codex.sh")} {
		bin := filepath.Join(root, file)
		if filepath.Ext(file) == ".sh" && runtime.GOOS == "windows" {
			continue // not executable there
		}
		if got, err := ResolveNative(bin); err != nil || got != bin {
			t.Errorf("got %s, %v", got, err)
		}
	}
	t.Setenv("PATH", root)
	if got, err := ResolveNative("codex"); err != nil || got != filepath.Join(root, name) {
		t.Errorf("on the PATH: got %s, %v", got, err)
	}
}

func TestBinaryThatCannotBeFound(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if _, err := ResolveNative("codex"); !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("a name: got %v", err)
	}
	if _, err := ResolveNative(filepath.Join(t.TempDir(), "codex")); !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("a path: got %v", err)
	}
}
