package operator

import (
	"context"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	gatewayv1 "telecodex.dev/gen/telecodex/gateway/v1"
	"telecodex.dev/services/gateway/internal/cycle"
	"telecodex.dev/services/internal/rpc"
)

// maxBehind is how many steps a watcher may be behind before it is cut off. It is
// never shown only some of them.
const maxBehind = 4096

// Cycles hands every step of every cycle to those who watch.
type Cycles struct {
	mu       sync.Mutex
	newest   uint64 // number of the newest cycle
	watchers map[*watcher]struct{}
}

// NewCycles returns a Cycles without watchers.
func NewCycles() *Cycles { return &Cycles{watchers: map[*watcher]struct{}{}} }

// Progress is for cycle.Options.Progress; it does not block.
func (c *Cycles) Progress(p cycle.Progress) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.newest = max(c.newest, p.Cycle)
	for w := range c.watchers {
		w.steps = append(w.steps, p)
		select {
		case w.more <- struct{}{}:
		default:
		}
		if len(w.steps) > maxBehind {
			w.late, w.steps = true, nil
			delete(c.watchers, w)
		}
	}
}

// watcher is one stream. Its fields are guarded by Cycles.mu.
type watcher struct {
	cycles *Cycles
	after  uint64 // newest cycle when the watching began
	steps  []cycle.Progress
	late   bool
	more   chan struct{}
}

func (c *Cycles) watch() *watcher {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := &watcher{cycles: c, after: c.newest, more: make(chan struct{}, 1)}
	c.watchers[w] = struct{}{}
	return w
}

func (w *watcher) close() {
	w.cycles.mu.Lock()
	defer w.cycles.mu.Unlock()
	delete(w.cycles.watchers, w)
}

// next waits for the next steps.
func (w *watcher) next(ctx context.Context) ([]cycle.Progress, error) {
	for {
		w.cycles.mu.Lock()
		steps, late := w.steps, w.late
		w.steps = nil
		w.cycles.mu.Unlock()
		if late {
			return nil, &rpc.Failure{Code: codes.ResourceExhausted, Message: "the stream is read too slowly"}
		}
		if len(steps) > 0 {
			return steps, nil
		}
		select {
		case <-ctx.Done():
			return nil, failure(ctx.Err())
		case <-w.more:
		}
	}
}

// WatchCycles streams every report from now on.
func (s *Service) WatchCycles(_ *gatewayv1.WatchCyclesRequest, stream grpc.ServerStreamingServer[gatewayv1.WatchCyclesResponse]) error {
	w := s.config.Cycles.watch()
	defer w.close()
	if err := stream.SendHeader(nil); err != nil { // now it watches
		return err
	}
	for {
		steps, err := w.next(stream.Context())
		if err != nil {
			return err
		}
		for _, p := range steps {
			if p.Report == nil {
				continue
			}
			if err := stream.Send(&gatewayv1.WatchCyclesResponse{Report: p.Report}); err != nil {
				return err
			}
		}
	}
}

// RunCycle asks the one poller for a poll now and streams its progress, then its
// report.
func (s *Service) RunCycle(_ *gatewayv1.RunCycleRequest, stream grpc.ServerStreamingServer[gatewayv1.RunCycleResponse]) error {
	w := s.config.Cycles.watch()
	defer w.close()
	s.config.PollNow()
	var number uint64
	for {
		steps, err := w.next(stream.Context())
		if err != nil {
			return err
		}
		for _, p := range steps {
			if number == 0 && p.Cycle > w.after {
				number = p.Cycle
			}
			if p.Cycle != number {
				continue
			}
			if p.Last && p.Report == nil { // it was given up for a poll at once
				number, w.after = 0, p.Cycle
				continue
			}
			if err := stream.Send(step(p)); err != nil || p.Last {
				return err
			}
		}
	}
}

func step(p cycle.Progress) *gatewayv1.RunCycleResponse {
	if p.Report != nil {
		return &gatewayv1.RunCycleResponse{Payload: &gatewayv1.RunCycleResponse_Report{Report: p.Report}}
	}
	phase := "polling"
	if p.Fetched > 0 {
		phase = "processing"
	}
	return &gatewayv1.RunCycleResponse{Payload: &gatewayv1.RunCycleResponse_Progress{Progress: &gatewayv1.CycleProgress{
		Phase: phase, FetchedCount: int32(p.Fetched), SettledCount: int32(p.Settled)}}}
}
