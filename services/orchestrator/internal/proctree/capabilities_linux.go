package proctree

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// shimCapabilities are what the shim needs in a user namespace: mounting, and dropping from the bounding set.
func shimCapabilities() []uintptr { return []uintptr{unix.CAP_SYS_ADMIN, unix.CAP_SETPCAP} }

// dropCapabilities takes from the calling thread, and what it executes, every capability it can do without.
//
// CAP_SETFCAP stays for uid 0: since Linux 5.12 a user namespace in which uid 0 is uid 0 again can be made only with it, and that is
// what the bubblewrap of Codex's sandbox makes. It gives uid 0 nothing new, who owns the system's files and can make them setuid.
//
// no_new_privs stays off. It would keep a setuid or profile-bound bubblewrap from working, and adds nothing: with the bounding set
// empty no exec gains a capability, and in a worker's user namespace no other uid than its own is even mapped.
func dropCapabilities() error {
	stays := func(int) bool { return false }
	if os.Geteuid() == 0 {
		stays = func(capability int) bool { return capability == unix.CAP_SETFCAP }
	}
	for capability := 0; capability < 64; capability++ {
		held, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(capability), 0, 0, 0)
		if err != nil {
			break // beyond the last one this kernel knows
		}
		if held == 0 || stays(capability) {
			continue
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(capability), 0, 0, 0); err != nil {
			return fmt.Errorf("bounding set: %w", err)
		}
	}
	// Kernels before 4.3 know no ambient set, and so have nothing in it.
	_ = unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)

	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	if err := unix.Capget(&header, &sets[0]); err != nil {
		return fmt.Errorf("capget: %w", err)
	}
	for word := range sets {
		var mask uint32
		for bit := range 32 {
			if stays(word*32 + bit) {
				mask |= 1 << bit
			}
		}
		sets[word].Permitted &= mask
		sets[word].Effective = sets[word].Permitted
		sets[word].Inheritable = 0
	}
	if err := unix.Capset(&header, &sets[0]); err != nil {
		return fmt.Errorf("capset: %w", err)
	}
	return nil
}
