//go:build crash

package crashpoint

import (
	"os"
	"strconv"
	"sync"
	"time"
)

// Enabled says whether Here does anything.
const Enabled = true

// plan is where this process dies.
var plan = sync.OnceValue(func() *countdown {
	hit, err := strconv.Atoi(os.Getenv(HitVariable))
	if err != nil || hit < 1 {
		hit = 1
	}
	return &countdown{at: Point(os.Getenv(AtVariable)), left: hit}
})

type countdown struct {
	at   Point
	mu   sync.Mutex
	left int
}

// Here kills the process, as SIGKILL does, when this is the passing of the point
// that its environment names.
func Here(p Point) {
	c := plan()
	if p != c.at {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left--; c.left > 0 {
		return
	}
	// Nothing can be done about a failure of either but to stay where it is.
	_, _ = os.Stderr.WriteString(Marker + string(p) + "\n")
	if self, err := os.FindProcess(os.Getpid()); err == nil {
		_ = self.Kill()
	}
	select {} // nobody passes, with c.mu held
}

// LeaseTTL is how long a gateway bears with a silent one that holds its bot; 0: as
// long as it always does. Deaths that take a moment each need not be waited for a
// quarter of a minute then.
func LeaseTTL() time.Duration {
	d, err := time.ParseDuration(os.Getenv(LeaseVariable))
	if err != nil {
		return 0
	}
	return d
}

// Containment is the one that a worker is to contain its turns with; empty: the
// strongest that there is. So the weaker ones are tried where stronger ones work.
func Containment() string { return os.Getenv(ContainmentVariable) }
