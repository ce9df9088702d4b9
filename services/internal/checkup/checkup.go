// Package checkup is what a preflight is made of: checks that run side by side,
// each within a bound of its own, and say in words for an operator what is well,
// what is not, and what mends it. What they say is shown on screens and sent
// along with questions, so it holds no secret, no prompt and no chat's id.
package checkup

import (
	"context"
	"fmt"
	"time"
)

// Verdict is what a check came to.
type Verdict string

// Verdicts.
const (
	OK   Verdict = "ok"
	Warn Verdict = "warn" // it works, but the operator should know
	Fail Verdict = "fail" // the program cannot do its work
)

// Finding is what a check says.
type Finding struct {
	Name    string  `json:"name"` // what was looked at
	Verdict Verdict `json:"verdict"`
	Detail  string  `json:"detail"`
	Mend    string  `json:"mend"` // what to do about it; empty when it is well
}

// Well is a finding that asks for nothing.
func Well(name, format string, args ...any) Finding {
	return Finding{Name: name, Verdict: OK, Detail: fmt.Sprintf(format, args...)}
}

// Doubtful is a finding that the operator should know of.
func Doubtful(name, detail, mend string) Finding { return Finding{name, Warn, detail, mend} }

// Broken is a finding that keeps the program from its work.
func Broken(name, detail, mend string) Finding { return Finding{name, Fail, detail, mend} }

// Check is a look at something, under way.
type Check struct {
	Name  string
	limit time.Duration
	found chan []Finding
}

// grace is how long a look may go on after its context has ended: for what
// cannot be called off, such as a file system that does not answer.
const grace = 2 * time.Second

// Start begins to look. The look's context ends at the limit. Who starts a check
// waits for it, once.
func Start(ctx context.Context, name string, limit time.Duration, look func(ctx context.Context) []Finding) *Check {
	c := &Check{Name: name, limit: limit, found: make(chan []Finding, 1)}
	go func() {
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		c.found <- look(ctx)
	}()
	return c
}

// Wait returns what the look has found. One that does not come back in time, or
// soon after ctx has ended, is left to itself, and that is the finding.
func (c *Check) Wait(ctx context.Context) []Finding {
	timer := time.NewTimer(c.limit + grace)
	defer timer.Stop()
	select {
	case found := <-c.found:
		return found
	case <-timer.C:
		return []Finding{Broken(c.Name, fmt.Sprintf("no end within %s", c.limit), "something does not answer: look at the disks and the network of this machine")}
	case <-ctx.Done():
	}
	timer.Reset(grace)
	select {
	case found := <-c.found:
		return found
	case <-timer.C:
		return []Finding{Broken(c.Name, "interrupted", "run it again")}
	}
}

// Worst is the worst verdict among findings.
func Worst(findings []Finding) Verdict {
	worst := OK
	for _, f := range findings {
		if f.Verdict == Fail || f.Verdict == Warn && worst == OK {
			worst = f.Verdict
		}
	}
	return worst
}
