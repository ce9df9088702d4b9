package chaos

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// tally counts what was done to the programs, by names that sort as they are to
// be shown.
type tally struct {
	mu     sync.Mutex
	counts map[string]int
	errors []string // what the programs did of their own accord and should not
}

func (t *tally) count(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.counts == nil {
		t.counts = map[string]int{}
	}
	t.counts[name]++
}

func (t *tally) failed(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.errors = append(t.errors, fmt.Sprintf(format, args...))
}

// Report is what a run came to.
type Report struct {
	Name     string
	Seed     uint64
	Verdict  Verdict
	Done     map[string]int // to the programs, and by the simulated Telegram
	Errors   []string       // programs that left by themselves
	Unproved []string       // points at which nobody died
	Calm     time.Duration  // from the last fault until all was settled
}

// OK says whether every promise was kept.
func (r Report) OK() bool { return r.Verdict.OK() && len(r.Errors) == 0 }

// String is the report as people read it.
func (r Report) String() string {
	var b strings.Builder
	v := r.Verdict
	fmt.Fprintf(&b, "chaos on %s, seed %d; settled %.1f s after the last fault\n\n", r.Name, r.Seed, r.Calm.Seconds())
	for _, name := range slices.Sorted(maps.Keys(r.Done)) {
		fmt.Fprintf(&b, "  %-44s %6d\n", name, r.Done[name])
	}
	if len(r.Unproved) > 0 {
		fmt.Fprintf(&b, "  nobody died at: %s\n", strings.Join(r.Unproved, ", "))
	}
	b.WriteByte('\n')
	for _, line := range []struct {
		name  string
		count int
	}{
		{"messages", v.Messages}, {"answered", v.Answered}, {"interrupted", v.Interrupted}, {"dropped by decision", v.Dropped},
		{"runs of Codex", v.Runs}, {"sends in doubt", v.InDoubt}, {"duplicate answers", v.Duplicates},
	} {
		fmt.Fprintf(&b, "  %-44s %6d\n", line.name, line.count)
	}
	b.WriteByte('\n')
	for _, line := range []struct {
		name  string
		count int
	}{
		{"lost", v.Lost}, {"run twice", v.RunTwice}, {"out of order", v.OutOfOrder}, {"duplicates that no doubt explains", v.Unexcused},
		{"wrong answers", v.Wrong}, {"orphans", v.Orphans}, {"programs that left by themselves", len(r.Errors)},
	} {
		fmt.Fprintf(&b, "  %-44s %6d\n", line.name, line.count)
	}
	for _, finding := range slices.Concat(v.Findings, r.Errors) {
		fmt.Fprintf(&b, "    %s\n", finding)
	}
	return b.String()
}
