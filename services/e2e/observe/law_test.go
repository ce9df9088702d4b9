package observe

import (
	"fmt"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"

	"telecodex.dev/services/internal/telegramsim"
)

// lawful says by how many updates a scrape breaks the law, and how many were
// accepted; false where the scrape does not speak of it yet.
func lawful(families map[string]*dto.MetricFamily) (lost, accepted float64, ok bool) {
	accepted = value(families, "telecodex_gateway_updates_accepted_total")
	if accepted < 0 {
		return 0, 0, false
	}
	lost = accepted
	for _, state := range []string{"answered", "dropped", "interrupted", "pending"} {
		lost -= value(families, "telecodex_gateway_updates", "state", state)
	}
	return lost, accepted, true
}

// watch scrapes as often as it can until it is told to stop, and says how many
// scrapes spoke of the law, of which the last must.
func (s *system) watch(stop <-chan struct{}) (scrapes int, err error) {
	for last := 0.0; ; {
		families, ok := s.gateway.scrape()
		if ok {
			lost, accepted, speaks := lawful(families)
			if speaks {
				scrapes++
			}
			if lost != 0 || speaks && accepted < last {
				return scrapes, fmt.Errorf("scrape %d: %v updates are lost of %v, before %v", scrapes, lost, accepted, last)
			}
			last = max(last, accepted)
		}
		select {
		case <-stop:
			return scrapes, nil
		default:
		}
	}
}

func TestTheLawHoldsAtEveryScrapeWhateverFails(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	s.run(s.worker, s.gateway)
	stop, result := make(chan struct{}), make(chan error, 1)
	scrapes := 0
	go func() {
		var err error
		scrapes, err = s.watch(stop)
		result <- err
	}()
	const rounds, each = 4, 8
	for round := range rounds {
		for _, fault := range []telegramsim.Fault{
			{Method: "sendMessage", Reset: true, Execute: true},
			{Method: "sendMessage", Status: 502, HTML: true},
			{Method: "getUpdates", Reset: true},
			{Method: "getUpdates", Replay: 3},
		} {
			s.sim.Fail(fault)
		}
		for n := range each {
			text := fmt.Sprintf("!scenario slow FAKE_CODEX_DELAY=30\nround %d", round)
			if n == each-1 {
				text = "/status"
			}
			s.sim.Inject(telegramsim.Incoming{ChatID: chat + int64(n%2), Text: text})
		}
		s.sim.Inject(telegramsim.Incoming{ChatID: chat + 5000, Text: "a stranger"})
		s.eventually("the round is taken", func() bool {
			families, ok := s.gateway.scrape()
			_, accepted, speaks := lawful(families)
			return ok && speaks && accepted == float64((round+1)*(each+1))
		})
		if round%2 == 0 {
			s.again(s.gateway)
		} else {
			s.again(s.worker)
		}
	}
	decided := 0.0 // about as many interrupted turns
	s.eventually("everything is at its end", func() bool {
		families, ok := s.gateway.scrape()
		interrupted := value(families, "telecodex_gateway_updates", "state", "interrupted")
		if ok && interrupted > 0 && interrupted != decided {
			for n := range int64(2) {
				s.sim.Inject(telegramsim.Incoming{ChatID: chat + n, Text: "/drop"})
			}
		}
		decided = interrupted
		return ok && interrupted == 0 && value(families, "telecodex_gateway_updates", "state", "pending") == 0
	})
	close(stop)
	select {
	case err := <-result:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Fatal("the scrapes do not end")
	}
	families, _ := s.gateway.scrape()
	lost, accepted, _ := lawful(families)
	t.Logf("%d scrapes, %v accepted, %v answered, %v dropped, %v interrupted", scrapes, accepted,
		value(families, "telecodex_gateway_updates", "state", "answered"), value(families, "telecodex_gateway_updates", "state", "dropped"),
		value(families, "telecodex_gateway_updates", "state", "interrupted"))
	if lost != 0 || scrapes < 20 || value(families, "telecodex_gateway_updates", "state", "dropped") < rounds {
		t.Errorf("%v are lost of %v, in %d scrapes", lost, accepted, scrapes)
	}
}
