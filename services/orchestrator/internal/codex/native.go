package codex

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// ErrNoNative says that the npm wrapper is installed without the native binary.
var ErrNoNative = errors.New("the npm package @openai/codex lacks its native binary; install it again")

// ResolveNative finds the native Codex behind bin, a path or a name on the PATH. The
// npm package installs a script that starts the native binary of a platform
// package: a signal to the script can orphan what it started, and it costs 100 ms
// and 43 MB. What is not that script is returned as it is. The error wraps
// exec.ErrNotFound, fs.ErrNotExist, fs.ErrPermission or ErrNoNative.
func ResolveNative(bin string) (string, error) {
	found, err := exec.LookPath(bin)
	if err != nil {
		return "", err
	}
	if found, err = filepath.Abs(found); err != nil {
		return "", err
	}
	if !IsScript(found) {
		return found, nil
	}
	roots := packageRoots(found)
	for _, root := range roots {
		if native := nativeOf(root); native != "" {
			return native, nil
		}
	}
	if len(roots) > 0 {
		return "", fmt.Errorf("%s: %w", found, ErrNoNative)
	}
	return found, nil
}

// IsScript tells whether a file is run by an interpreter.
func IsScript(path string) bool {
	if slices.Contains([]string{".cmd", ".bat", ".ps1"}, strings.ToLower(filepath.Ext(path))) {
		return true
	}
	file, err := os.Open(path)
	if err != nil {
		return false
	}
	defer file.Close()
	var magic [2]byte
	n, _ := file.Read(magic[:])
	return string(magic[:n]) == "#!"
}

// packageRoots are the places of the npm package a script may belong to: it is the
// package's own bin/codex.js (mostly behind a symbolic link), or a script that a
// package manager wrote beside node_modules (npm on Windows) or into
// node_modules/.bin (pnpm).
func packageRoots(script string) []string {
	var roots []string
	dir := filepath.Dir(script)
	candidates := []string{filepath.Join(dir, "node_modules", "@openai", "codex"), filepath.Join(dir, "..", "@openai", "codex")}
	if real, err := filepath.EvalSymlinks(script); err == nil {
		candidates = append([]string{filepath.Join(filepath.Dir(real), "..")}, candidates...)
	}
	for _, candidate := range candidates {
		if _, err := os.Stat(filepath.Join(candidate, "bin", "codex.js")); err != nil {
			continue
		}
		if real, err := filepath.EvalSymlinks(candidate); err == nil {
			roots = append(roots, real)
		}
	}
	return roots
}

// nativeOf is the native binary of the package at root, as its bin/codex.js looks
// for it: in the platform package, resolved as Node does, else in its own vendor
// directory. Empty when there is none.
func nativeOf(root string) string {
	platform, triple, executable := nativePlatform()
	inVendor := filepath.Join("vendor", triple, "bin", executable)
	for dir := root; ; {
		native := filepath.Join(dir, "node_modules", "@openai", platform, inVendor)
		if isFile(native) {
			return native
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			break
		}
		dir = parent
	}
	if own := filepath.Join(root, inVendor); isFile(own) {
		return own
	}
	return ""
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().Type() == fs.FileMode(0)
}

// nativePlatform names the platform package, the target triple and the binary for
// this machine, as @openai/codex does.
func nativePlatform() (platform, triple, executable string) {
	arch, cpu := "x64", "x86_64"
	if runtime.GOARCH == "arm64" {
		arch, cpu = "arm64", "aarch64"
	}
	switch runtime.GOOS {
	case "windows":
		return "codex-win32-" + arch, cpu + "-pc-windows-msvc", "codex.exe"
	case "darwin":
		return "codex-darwin-" + arch, cpu + "-apple-darwin", "codex"
	default:
		return "codex-linux-" + arch, cpu + "-unknown-linux-musl", "codex"
	}
}
