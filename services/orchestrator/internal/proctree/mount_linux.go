package proctree

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

const proc = "/proc"

// mounts arranges the mount namespace the child is the first in.
func (p *plan) mounts(mask, keep []string) error {
	p.mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
	if err := p.cover(mask, keep); err != nil {
		return err
	}
	// The old one shows, and lets one read the environment of, every process of the worker's namespace, and its numbers are not those
	// of this one: with it bubblewrap writes the ID maps of the wrong process and hangs. A container runtime that hides parts of /proc
	// makes the kernel refuse a fresh one in a user namespace; then namespaces are not the way.
	p.mount("proc", proc, "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
	return nil
}

// cover hides every path of mask but what keep lists.
func (p *plan) cover(mask, keep []string) error {
	targets, err := existing(mask)
	if err != nil || len(targets) == 0 {
		return err
	}
	stay, err := existing(keep)
	if err != nil {
		return err
	}
	var covered []string // directories
	for _, target := range targets {
		if hidden(target, covered, stay) {
			continue
		}
		info, err := os.Stat(target)
		if err != nil {
			return err
		}
		if !info.IsDir() {
			p.mount(os.DevNull, target, "", unix.MS_BIND, "")
			continue
		}
		if err := p.coverDir(target, stay); err != nil {
			return err
		}
		covered = append(covered, target)
	}
	return nil
}

// existing are the paths of a list that exist, without symbolic links, parents first, so that what lies in a kept directory can be
// masked again.
func existing(paths []string) (found []string, err error) {
	for _, path := range paths {
		path, err := filepath.EvalSymlinks(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		found = append(found, path)
	}
	slices.Sort(found)
	return slices.Compact(found), nil
}

func beneath(path, dir string) bool { return strings.HasPrefix(path, dir+"/") }

// hidden tells whether the cover of a parent hides target: it is there only if it is kept, lies in what is kept, or leads to it.
func hidden(target string, covered, stay []string) bool {
	return slices.ContainsFunc(covered, func(dir string) bool {
		return beneath(target, dir) && !slices.ContainsFunc(stay, func(kept string) bool {
			return beneath(kept, dir) && (kept == target || beneath(target, kept) || beneath(kept, target))
		})
	})
}

// coverDir puts an empty directory over target. What stays of it is then mounted from target itself, which meanwhile is to be found
// at /proc: a directory that surely exists, and is itself replaced at last.
func (p *plan) coverDir(target string, stay []string) error {
	const flags = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	p.mount(target, proc, "", unix.MS_BIND|unix.MS_REC, "")
	p.mount("tmpfs", target, "tmpfs", flags, "mode=0755,size=64k")
	for _, kept := range stay {
		if beneath(kept, target) {
			if err := p.uncover(kept, target); err != nil {
				return err
			}
		}
	}
	p.must("unmount", proc, unix.SYS_UMOUNT2, p.text(proc), number(unix.MNT_DETACH))
	p.mount("", target, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY|flags, "")
	return nil
}

// uncover mounts kept at its old place, now in an empty file system. That something is there already is no failure.
func (p *plan) uncover(kept, target string) error {
	info, err := os.Stat(kept)
	if err != nil {
		return err
	}
	for end := len(target) + 1; end < len(kept); end++ {
		if kept[end] == '/' {
			p.may(unix.SYS_MKDIRAT, here(), p.text(kept[:end]), number(0o755))
		}
	}
	if info.IsDir() {
		p.may(unix.SYS_MKDIRAT, here(), p.text(kept), number(0o755))
	} else {
		p.may(unix.SYS_MKNODAT, here(), p.text(kept), number(unix.S_IFREG|0o644), number(0))
	}
	p.mount(proc+strings.TrimPrefix(kept, target), kept, "", unix.MS_BIND|unix.MS_REC, "")
	return nil
}
