package telegramsim

import (
	"maps"
	"math/rand/v2"
)

// Misbehaviour makes the server fail of its own accord, at calls that a seed
// chooses: the same calls in the same order fail in the same way.
type Misbehaviour struct {
	Seed uint64
	// PerMille is how many of a thousand calls fail; 0: none.
	PerMille int
	// Conflicts is how many of a thousand polls are answered with 409, as if
	// another poller had come.
	Conflicts int
	// Replays is how many of a thousand polls bring updates again that were
	// confirmed before.
	Replays int
}

// misconduct draws from a Misbehaviour.
type misconduct struct {
	Misbehaviour
	random *rand.Rand
	counts map[string]int
}

// Misbehave makes the server fail from now on. The zero value ends it.
func (s *Sim) Misbehave(m Misbehaviour) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.misconduct.Misbehaviour = m
	s.misconduct.random = rand.New(rand.NewPCG(m.Seed, 0x7e1e6))
}

// Misbehaved counts the failures so far, by their names.
func (s *Sim) Misbehaved() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.misconduct.counts)
}

// draw returns the fault for a call; nil: none. s.mu is held.
func (m *misconduct) draw(method string) *Fault {
	if m.random == nil {
		return nil
	}
	chance := m.random.IntN(1000)
	if method == "getUpdates" {
		switch {
		case chance < m.Conflicts:
			return m.count("409", &Fault{Status: 409, Description: conflictPoll})
		case chance < m.Conflicts+m.Replays:
			return m.count("updates again", &Fault{Replay: 1 + m.random.IntN(5)})
		}
		chance -= m.Conflicts + m.Replays
	}
	if chance >= m.PerMille {
		return nil
	}
	return m.failure()
}

// failure is one that any call may meet. Those that are done fail only in their
// answer.
func (m *misconduct) failure() *Fault {
	done := m.random.IntN(2) == 0
	suffix := ""
	if done {
		suffix = ", done"
	}
	switch m.random.IntN(7) {
	case 0:
		return m.count("500"+suffix, &Fault{Status: 500, Execute: done})
	case 1:
		return m.count("502 with HTML"+suffix, &Fault{HTML: true, Execute: done})
	case 2:
		return m.count("reset"+suffix, &Fault{Reset: true, Execute: done})
	case 3:
		return m.count("truncated body, done", &Fault{TruncateBody: true, Execute: true})
	case 4:
		return m.count("truncated JSON, done", &Fault{TruncateJSON: true, Execute: true})
	case 5:
		return m.count("429", &Fault{RetryAfter: 1})
	}
	return m.count("delay", &Fault{DelayMS: 50 + m.random.IntN(950)})
}

func (m *misconduct) count(name string, f *Fault) *Fault {
	if m.counts == nil {
		m.counts = map[string]int{}
	}
	m.counts[name]++
	return f
}
