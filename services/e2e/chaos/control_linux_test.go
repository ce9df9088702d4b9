package chaos

import (
	"os"
	"testing"
	"time"

	"telecodex.dev/services/internal/crashpoint"
)

// always is one life after the other, all the same.
func always(life Life) Lives { return func() Life { return life } }

// steady is a life that only the end of the run ends.
func steady() Lives { return always(Life{Within: time.Hour}) }

// TestChaosNoticesWhatIsBroken is what makes its silence worth something: a
// gateway that breaks a promise, or a disk that does, must not get through. Where
// nothing is broken, the same schedule must.
func TestChaosNoticesWhatIsBroken(t *testing.T) {
	t.Parallel()
	lost := func(v Verdict) int { return v.Lost }
	runTwice := func(v Verdict) int { return v.RunTwice }
	unexcused := func(v Verdict) int { return v.Unexcused }
	outOfOrder := func(v Verdict) int { return v.OutOfOrder }
	for _, tt := range []struct {
		name   string
		env    string
		change func(*Config)
		figure func(Verdict) int
		until  func(Report) bool // it must be noticed
	}{
		{"a journal that is not durable", "", func(c *Config) {
			// The gateway knows of no turn that a worker has, and each worker dies
			// with a turn that Codex runs.
			c.Gateways[0] = always(Life{At: crashpoint.Joined, Hit: 1, Within: 10 * time.Second, Pause: 100 * time.Millisecond})
			c.Workers[0] = always(Life{At: crashpoint.Appended, Hit: 1, Within: 10 * time.Second, Pause: 100 * time.Millisecond})
			c.Workers[1], c.LoseTail = c.Workers[0], true
		}, runTwice, func(r Report) bool { return runTwice(r.Verdict) > 0 }},
		{"an acknowledgement before the commit", "ack", func(c *Config) {
			c.Gateways[0] = always(Life{At: crashpoint.Fetched, Hit: 2, Within: time.Second})
		}, lost, func(r Report) bool { return r.Done["killed at "+string(crashpoint.Fetched)] > 2 }},
		{"a retry policy on RunTurn", "retry", func(c *Config) {
			c.Workers[0] = always(Life{At: crashpoint.Appended, Hit: 2, Within: 10 * time.Second, Pause: 200 * time.Millisecond})
		}, runTwice, func(r Report) bool { return runTwice(r.Verdict) > 0 }},
		{"a second send that is not told from the first", "doubt", func(c *Config) {
			c.Gateways[0] = always(Life{At: crashpoint.Answered, Hit: 3, Within: 2 * time.Second})
		}, unexcused, func(r Report) bool { return unexcused(r.Verdict) > 0 }},
		{"a lane without order", "order", func(c *Config) { c.Chats = 3 }, outOfOrder, func(r Report) bool { return outOfOrder(r.Verdict) > 0 }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			config := Config{Name: "SQLite", Seed: 1, For: 4 * time.Second, Patience: 10 * time.Second, Chats: 10, Rate: 8, Waiting: 40, Slow: true, Drop: true,
				Gateways: []Lives{steady()}, Workers: []Lives{steady(), steady()}}
			tt.change(&config)
			t.Run("broken", func(t *testing.T) {
				config := config
				config.Env = []string{breakVariable + "=" + tt.env}
				config.For, config.Until = time.Minute, tt.until
				if tt.env != "ack" {
					config.Patience = 3 * time.Second // what is lost is not asked
				}
				if r := play(t, broken, config); r.OK() || tt.figure(r.Verdict) == 0 {
					t.Errorf("nothing was noticed:\n%s", r)
				}
			})
			if os.Getenv("CHAOS_SECONDS") == "" {
				return // the slice has no time for it
			}
			t.Run("whole", func(t *testing.T) {
				config := config
				config.LoseTail, config.Patience = false, 30*time.Second
				if r := play(t, built, config); !r.OK() {
					t.Errorf("something was noticed:\n%s", r)
				}
			})
		})
	}
}
