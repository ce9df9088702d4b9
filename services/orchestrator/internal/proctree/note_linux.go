package proctree

import (
	"path/filepath"
	"time"
)

// abandonedGrace bounds what New spends on one abandoned child: a process in uninterruptible sleep must not keep a worker from
// starting. Its note stays for the next time.
const abandonedGrace = 5 * time.Second

// killAbandoned kills the children noted in dir whose worker is gone.
func killAbandoned(dir string) error {
	return eachAbandoned(dir, func(name, cgroup string) (settled bool) {
		m, err := parseMark(name)
		if err != nil {
			return false // not ours
		}
		if filepath.Base(cgroup) != cgroupPrefix+name {
			cgroup = ""
		}
		if !purge(m, cgroup, time.Now().Add(abandonedGrace)) {
			return false
		}
		removeCgroup(cgroup)
		return true
	})
}
