package telegramsim

import (
	"maps"
	"slices"
	"testing"
)

// drawn are the faults of a number of calls of a method.
func drawn(m Misbehaviour, method string, calls int) (faults []Fault, counts map[string]int) {
	s := New(Options{})
	s.Misbehave(m)
	for range calls {
		if _, f := s.record(method, args{}); f != nil {
			faults = append(faults, *f)
		}
	}
	return faults, s.Misbehaved()
}

func TestTheSameSeedMisbehavesTheSameWay(t *testing.T) {
	m := Misbehaviour{Seed: 7, PerMille: 200}
	first, counts := drawn(m, "sendMessage", 1000)
	again, _ := drawn(m, "sendMessage", 1000)
	m.Seed++
	other, _ := drawn(m, "sendMessage", 1000)
	if !slices.Equal(first, again) || slices.Equal(first, other) {
		t.Error("the seed does not decide")
	}
	if n := len(first); n < 120 || n > 280 {
		t.Errorf("%d of 1000 calls failed", n)
	}
	if len(counts) != 10 {
		t.Errorf("kinds: %v", slices.Sorted(maps.Keys(counts)))
	}
}

func TestOnlyPollsMeetAnotherPollerAndReplays(t *testing.T) {
	m := Misbehaviour{Seed: 1, Conflicts: 100, Replays: 100}
	if faults, _ := drawn(m, "sendMessage", 1000); len(faults) != 0 {
		t.Errorf("a send met %+v", faults[0])
	}
	_, counts := drawn(m, "getUpdates", 1000)
	if counts["409"] == 0 || counts["updates again"] == 0 || len(counts) != 2 {
		t.Errorf("counts = %v", counts)
	}
}

func TestItEnds(t *testing.T) {
	s := New(Options{})
	s.Misbehave(Misbehaviour{PerMille: 1000})
	s.Misbehave(Misbehaviour{})
	if _, f := s.record("sendMessage", args{}); f != nil {
		t.Errorf("met %+v", f)
	}
}

func TestReplayBringsConfirmedUpdatesAgain(t *testing.T) {
	b := start(t, Options{FirstUpdateID: 1})
	for _, text := range []string{"a", "b", "c"} {
		b.Inject(Incoming{ChatID: 1, Text: text})
	}
	if _, err := b.try(t.Context(), "getUpdates", `{"offset": 3}`); err != nil {
		t.Fatal(err)
	}
	b.Fail(Fault{Method: "getUpdates", Replay: 1})
	for _, want := range [][]string{{"b", "c"}, {"c"}} {
		a, err := b.try(t.Context(), "getUpdates", `{"offset": 3}`)
		if err != nil {
			t.Fatal(err)
		}
		if _, texts := a.updates(t); !slices.Equal(texts, want) {
			t.Errorf("updates = %q, want %q", texts, want)
		}
	}
}
