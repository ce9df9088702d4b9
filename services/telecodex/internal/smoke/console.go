package smoke

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// console shows a run to a person: on a terminal a line that changes in place,
// elsewhere plain lines.
type console struct {
	w        io.Writer
	terminal bool
	shown    bool // a line that changes is on the screen
	told     time.Time
}

// tellEvery is how often a countdown is a plain line.
const tellEvery = 10 * time.Second

// linef writes a line that stays.
func (c *console) linef(format string, args ...any) {
	c.clear()
	fmt.Fprintf(c.w, format+"\n", args...)
}

// statusf shows what goes on: on a terminal only, until something else is shown.
func (c *console) statusf(format string, args ...any) {
	if c.terminal {
		fmt.Fprintf(c.w, "\r\x1b[K"+format, args...)
		c.shown = true
	}
}

// countdown shows the time that is left.
func (c *console) countdown(what string, left time.Duration) {
	seconds := int(left.Round(time.Second) / time.Second)
	if c.terminal {
		c.statusf("  %s: %d s left ", what, seconds)
	} else if now := time.Now(); now.Sub(c.told) >= tellEvery {
		c.told = now
		c.linef("  %s: %d s left", what, seconds)
	}
}

func (c *console) clear() {
	if c.shown {
		fmt.Fprint(c.w, "\r\x1b[K")
		c.shown = false
	}
}

// indented writes each line of a text a little to the right.
func (c *console) indented(text string) {
	for line := range strings.Lines(text) {
		c.linef("    %s", strings.TrimRight(line, "\r\n"))
	}
}
