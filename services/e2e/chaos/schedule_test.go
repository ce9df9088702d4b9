package chaos

import (
	"slices"
	"testing"
	"time"

	"telecodex.dev/services/internal/crashpoint"
)

func several(lives Lives, count int) (all []Life) {
	for range count {
		all = append(all, lives())
	}
	return all
}

func TestASeedReplaysItsSchedule(t *testing.T) {
	for name, lives := range map[string]func(seed uint64) Lives{
		"gateway":        func(seed uint64) Lives { return GatewayLives(seed, 0, time.Second) },
		"a worker":       func(seed uint64) Lives { return WorkerLives(seed, 0) },
		"another worker": func(seed uint64) Lives { return WorkerLives(seed, 1) },
	} {
		t.Run(name, func(t *testing.T) {
			first := several(lives(5), 100)
			if !slices.Equal(first, several(lives(5), 100)) {
				t.Error("the same seed makes another schedule")
			}
			if slices.Equal(first, several(lives(6), 100)) {
				t.Error("another seed makes the same schedule")
			}
		})
	}
	if slices.Equal(several(WorkerLives(5, 0), 100), several(WorkerLives(5, 1), 100)) {
		t.Error("two workers die at the same times")
	}
}

func TestEveryPointHasItsTurn(t *testing.T) {
	met := map[crashpoint.Point]bool{}
	freezes, wipes, random := 0, 0, 0
	for _, l := range append(several(GatewayLives(1, 0, time.Second), 20), several(WorkerLives(1, 0), 11)...) {
		met[l.At] = true
		if l.At == "" {
			random++
		}
		if l.Freeze > 0 {
			freezes++
		}
		if l.Wipe {
			wipes++
		}
	}
	for _, p := range append(crashpoint.Gateway(), crashpoint.Worker()...) {
		if !met[p] {
			t.Errorf("nobody dies at %s", p)
		}
	}
	if freezes != 1 || wipes != 1 || random != 8 {
		t.Errorf("%d freezes, %d wipes, %d deaths at random", freezes, wipes, random)
	}
}
