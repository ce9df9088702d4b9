package chaos

import (
	"context"
	"path/filepath"

	"telecodex.dev/services/e2e/internal/harness"
)

// breakVariable says which of its promises a broken gateway breaks.
const breakVariable = "CHAOS_BREAK"

// brokenChanges break a promise each; the code of the gateway itself knows
// nothing of it.
func brokenChanges() []harness.Change {
	return []harness.Change{
		// Updates are confirmed before they are stored.
		{File: "poller/poller.go", Old: "\tbefore := p.cursor\n", New: `	if broken("ack") {
		_, _ = p.Bot.GetUpdates(ctx, botapi.GetUpdates{Offset: updates[len(updates)-1].ID + 1, Limit: 1, AllowedUpdates: []string{"message", "callback_query"}})
	}
	before := p.cursor
`},
		// A lane takes the newest work first.
		{File: "store/turns.go", Old: "work = 'lane' ORDER BY generation, update_id LIMIT 1`, q.bot, sessionID)",
			New: "work = 'lane' ORDER BY ` + laneOrder() + ` LIMIT 1`, q.bot, sessionID)"},
		{File: "store/steps.go", Old: "AND o.update_id < u.update_id)`", New: "AND o.update_id ` + before() + ` u.update_id)`"},
		// What was being sent when a gateway died is sent again as if it were sent for
		// the first time.
		{File: "store/outbox.go", Old: "UPDATE outbox SET in_doubt = in_doubt + 1, reason", New: "UPDATE outbox SET in_doubt = in_doubt + ` + doubts() + `, reason"},
		// A RunTurn that broke off is sent again, to another worker that is there.
		{File: "dispatch/effects.go", Old: "runTurn(ctx, client, ", New: "runTurn(ctx, retrying{client, r, r.head.WorkerID}, "},
	}
}

// brokenFiles are added to the packages of the gateway.
func brokenFiles() map[string]string {
	const isBroken = `
func broken(what string) bool { return os.Getenv("` + breakVariable + `") == what }
`
	return map[string]string{
		"poller/broken.go": "package poller\n\nimport \"os\"\n" + isBroken,
		"store/broken.go": "package store\n\nimport \"os\"\n" + isBroken + `
func laneOrder() string {
	if broken("order") {
		return "generation DESC, update_id DESC"
	}
	return "generation, update_id"
}

func doubts() string {
	if broken("doubt") {
		return "0"
	}
	return "1"
}

func before() string {
	if broken("order") {
		return ">"
	}
	return "<"
}
`,
		"dispatch/broken.go": `package dispatch

import (
	"context"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
	"telecodex.dev/services/gateway/internal/workers"
)
` + isBroken + `
// retrying is a client with a retry policy. Another worker knows nothing of the
// journal and the thread of the first.
type retrying struct {
	workers.Client
	r     *runner
	first string
}

type runStream = grpc.ServerStreamingClient[orchestratorv1.RunTurnResponse]

func (c retrying) RunTurn(ctx context.Context, in *orchestratorv1.RunTurnRequest, opts ...grpc.CallOption) (runStream, error) {
	stream, err := c.Client.RunTurn(ctx, in, opts...)
	if err != nil || !broken("retry") {
		return stream, err
	}
	return &retriedStream{stream, func() (runStream, error) {
		time.Sleep(50 * time.Millisecond)
		in.ExpectedJournalId, in.ThreadId = "", ""
		for _, w := range c.r.m.Workers.Workers() {
			if client, ok := c.r.m.Workers.Lookup(w.ID); ok && w.ID != c.first {
				return client.RunTurn(ctx, in, opts...)
			}
		}
		return nil, status.Error(codes.Unavailable, "no worker")
	}}, nil
}

type retriedStream struct {
	runStream
	again func() (runStream, error)
}

func (s *retriedStream) Recv() (*orchestratorv1.RunTurnResponse, error) {
	m, err := s.runStream.Recv()
	for attempt := 0; status.Code(err) == codes.Unavailable && attempt < 10; attempt++ {
		var stream runStream
		if stream, err = s.again(); err == nil {
			s.runStream = stream
			m, err = stream.Recv()
		}
	}
	return m, err
}
`,
	}
}

// buildBroken builds a gateway that breaks the promise that breakVariable names,
// into a copy of the programs.
func buildBroken(ctx context.Context, whole harness.Programs, dir string) (harness.Programs, error) {
	overlay, err := harness.Overlay(dir, filepath.Join("..", "..", "gateway", "internal"), brokenChanges(), brokenFiles())
	if err != nil {
		return harness.Programs{}, err
	}
	return whole.Rebuilt(ctx, filepath.Join(dir, "programs"), []string{"-tags=crash", overlay}, "gateway")
}
