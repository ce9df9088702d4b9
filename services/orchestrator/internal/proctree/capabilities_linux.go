package proctree

import (
	"os"

	"golang.org/x/sys/unix"
)

// dropCapabilities takes from a thread that has held, and from what it executes, every capability it can do without.
//
// CAP_SETFCAP stays for uid 0: since Linux 5.12 a user namespace in which uid 0 is uid 0 again can be made only with it, and that is
// what the bubblewrap of Codex's sandbox makes. It gives uid 0 nothing new, who owns the system's files and can make them setuid.
//
// no_new_privs stays off. It would keep a setuid or profile-bound bubblewrap from working, and adds nothing: with the bounding set
// empty no exec gains a capability, and in a worker's user namespace no other uid than its own is even mapped.
func (p *plan) dropCapabilities(held capabilities) {
	var stay capabilities
	if os.Geteuid() == 0 {
		stay = held & (1 << unix.CAP_SETFCAP)
	}
	for capability := 0; capability < 64; capability++ {
		bounding, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(capability), 0, 0, 0)
		if err != nil {
			break // beyond the last one this kernel knows
		}
		if (bounding == 1 || held == all) && stay&(1<<capability) == 0 {
			p.must("bounding set", "", unix.SYS_PRCTL, number(unix.PR_CAPBSET_DROP), number(capability))
		}
	}
	// Kernels before 4.3 know no ambient set, and so have nothing in it.
	p.may(unix.SYS_PRCTL, number(unix.PR_CAP_AMBIENT), number(unix.PR_CAP_AMBIENT_CLEAR_ALL))

	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	low, high := uint32(stay), uint32(stay>>32)
	sets := [2]unix.CapUserData{{Permitted: low, Effective: low}, {Permitted: high, Effective: high}}
	p.must("capset", "", unix.SYS_CAPSET, at(&header), at(&sets))
}

// capabilities is a set of them, one bit each.
type capabilities uint64

// all is what the first process of a new user namespace has, in its bounding set too.
const all capabilities = 1<<64 - 1

// ownCapabilities are those the calling thread may use.
func ownCapabilities() (capabilities, error) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	if err := unix.Capget(&header, &sets[0]); err != nil {
		return 0, os.NewSyscallError("capget", err)
	}
	return capabilities(sets[0].Permitted) | capabilities(sets[1].Permitted)<<32, nil
}
