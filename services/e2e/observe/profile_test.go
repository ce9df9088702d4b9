package observe

import (
	"net/http"
	"testing"
)

func TestProfilesAreServedWhereTheyAreAskedForOnly(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	gateway, worker := s.free(), s.free()
	s.env = append(s.env, "CHANNEL_PPROF_ADDR="+gateway, "ORCHESTRATOR_PPROF_ADDR="+worker)
	s.run(s.worker, s.gateway)
	for _, p := range []*service{s.gateway, s.worker} {
		if status := p.get("/debug/pprof/"); status != http.StatusNotFound {
			t.Errorf("among the metrics: %d", status)
		}
	}
	for _, addr := range []string{gateway, worker} {
		s.eventually("profiles are served", func() bool { return (&service{metrics: addr}).get("/debug/pprof/heap") == http.StatusOK })
	}
}
