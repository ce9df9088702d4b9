package codexsim

import (
	"runtime"
	"strconv"
	"strings"
	"time"
)

// lookup makes a getenv of NAME=value words; the last of equal names wins.
func lookup(env []string) func(string) string {
	values := make(map[string]string, len(env))
	for _, word := range env {
		if name, value, ok := strings.Cut(word, "="); ok {
			values[name] = value
		}
	}
	return func(name string) string { return values[name] }
}

// overlay asks first and, where it knows nothing, second.
func overlay(first, second func(string) string) func(string) string {
	return func(name string) string { return valueOr(first(name), second(name)) }
}

// number reads a non-negative number from the environment; one that is missing
// or malformed is the default.
func (t *turn) number(name string, otherwise int) int {
	n, err := strconv.Atoi(t.getenv(name))
	if err != nil || n < 0 {
		return otherwise
	}
	return n
}

func (t *turn) milliseconds(name string, otherwise int) time.Duration {
	return time.Duration(t.number(name, otherwise)) * time.Millisecond
}

// pause waits. When SIGINT comes, the scenario ends where it is, so that nothing
// is said after it; play answers the signal.
func (t *turn) pause(d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.ctx.Done():
		runtime.Goexit()
	}
}

// hang waits for SIGINT, or for ever in a scenario that is deaf to it.
func (t *turn) hang() int {
	if t.scenario.deaf {
		// A timer keeps the runtime from taking this for a deadlock.
		for {
			time.Sleep(time.Hour)
		}
	}
	<-t.ctx.Done()
	return exitFailed
}
