package proctree

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// enterMounts arranges the mount namespace this process is the first in.
func enterMounts(mask, keep []string) error {
	if err := mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := cover(mask, keep); err != nil {
		return err
	}
	// The old one shows, and lets one read the environment of, every process of the worker's namespace, and its numbers are not those
	// of this one: with it bubblewrap writes the ID maps of the wrong process and hangs. A container runtime that hides parts of /proc
	// makes the kernel refuse a fresh one in a user namespace; then namespaces are not the way.
	return mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
}

func mount(source, target, kind string, flags uintptr, data string) error {
	if err := unix.Mount(source, target, kind, flags, data); err != nil {
		return fmt.Errorf("mount over %s: %w", target, err)
	}
	return nil
}

// kept is a path that stays visible, held open since before it was covered.
type kept struct {
	path string
	fd   int
	dir  bool
}

// cover hides every path of mask but what keep lists.
func cover(mask, keep []string) error {
	var targets []string
	for _, path := range mask {
		target, err := filepath.EvalSymlinks(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		targets = append(targets, target)
	}
	if len(targets) == 0 {
		return nil
	}
	slices.Sort(targets) // parents first, so that what lies in a kept directory can be masked again
	stay, err := openKept(keep)
	defer func() {
		for _, k := range stay {
			_ = unix.Close(k.fd)
		}
	}()
	if err != nil {
		return err
	}
	for _, target := range slices.Compact(targets) {
		if err := coverOne(target, stay); err != nil {
			return err
		}
	}
	return nil
}

func openKept(paths []string) (stay []kept, err error) {
	for _, path := range paths {
		path, err = filepath.EvalSymlinks(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return stay, err
		}
		info, err := os.Stat(path)
		if err != nil {
			return stay, err
		}
		fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			return stay, &fs.PathError{Op: "open", Path: path, Err: err}
		}
		stay = append(stay, kept{path: path, fd: fd, dir: info.IsDir()})
	}
	return stay, nil
}

func coverOne(target string, stay []kept) error {
	info, err := os.Stat(target)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // hidden by the cover of a parent
	}
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return mount(os.DevNull, target, "", unix.MS_BIND, "")
	}
	const flags = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	if err := mount("tmpfs", target, "tmpfs", flags, "mode=0755,size=64k"); err != nil {
		return err
	}
	for _, k := range stay {
		if strings.HasPrefix(k.path, target+"/") {
			if err := uncover(k); err != nil {
				return err
			}
		}
	}
	return mount("", target, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY|flags, "")
}

// uncover mounts what k holds open at its old place, now in an empty file system.
func uncover(k kept) error {
	if err := os.MkdirAll(filepath.Dir(k.path), 0o755); err != nil {
		return err
	}
	var err error
	if k.dir {
		err = os.MkdirAll(k.path, 0o755)
	} else {
		err = os.WriteFile(k.path, nil, 0o644)
	}
	if err != nil {
		return err
	}
	return mount(fmt.Sprintf("/proc/self/fd/%d", k.fd), k.path, "", unix.MS_BIND|unix.MS_REC, "")
}
