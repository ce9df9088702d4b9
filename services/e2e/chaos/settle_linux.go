package chaos

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	gatewayv1 "telecodex.dev/gen/telecodex/gateway/v1"
	"telecodex.dev/services/e2e/internal/harness"
)

// stopWithin is how long a program may take to end in good order.
const stopWithin = 20 * time.Second

// insistAfter is how long nothing may change before people decide again what they
// had decided by command.
const insistAfter = 2 * time.Second

// lastGateway is the one that runs until everything has come to its end.
const lastGateway = "gateway-last"

// settle starts everything once more, waits until all that people wrote has come
// to its end or nothing changes any more, stops everything, and judges.
func (r *run) settle(ctx context.Context) (report Report, err error) {
	var programs []*harness.Process
	defer func() {
		for _, p := range programs {
			err = errors.Join(err, p.Kill())
		}
	}()
	for i := range r.Workers {
		p, err := r.startWorker(i)
		if err != nil {
			return Report{}, err
		}
		programs = append(programs, p)
	}
	operator := "unix://" + filepath.Join(r.Dir, "operator")
	p, err := r.startGateway(lastGateway, "CHANNEL_LISTEN_ADDR="+operator)
	if err != nil {
		return Report{}, err
	}
	programs = append(programs, p)
	conn, err := harness.Dial(operator)
	if err != nil {
		return Report{}, err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	began := time.Now()
	scraping, enough := context.WithCancel(ctx)
	scraped := make(chan struct{})
	go func() { defer close(scraped); r.law(scraping, lastGateway) }()
	e, err := r.calm(ctx, conn)
	enough()
	<-scraped
	if err != nil {
		return Report{}, err
	}
	calm := time.Since(began)
	if e.InDoubt, err = r.inDoubt(ctx, conn, e); err != nil {
		return Report{}, err
	}
	slices.Reverse(programs)
	for i, p := range programs {
		keeper := r.keeper(fmt.Sprintf("last-%d", i), nil)
		if err := errors.Join(p.Stop(stopWithin), keeper.keepLog(p)); err != nil {
			r.tally.failed("%v", err)
		}
	}
	for i := range r.Workers {
		e.Orphans = append(e.Orphans, remaining(ctx, r.workerDir(i))...)
	}
	if err := r.keep(e); err != nil {
		return Report{}, err
	}
	report = r.report(e)
	report.Calm = calm
	return report, nil
}

// calm waits until nothing is left to be done, or nothing changes for long.
func (r *run) calm(ctx context.Context, conn *grpc.ClientConn) (e Evidence, err error) {
	client := gatewayv1.NewGatewayServiceClient(conn)
	before, since := "", time.Now()
	for {
		if ctx.Err() != nil {
			return e, ctx.Err()
		}
		r.people.decideUntil(ctx, 200*time.Millisecond)
		if e, err = r.evidence(); err != nil {
			return e, err
		}
		verdict := Judge(e)
		status, err := client.GetStatus(ctx, &gatewayv1.GetStatusRequest{})
		left := int32(-1)
		if err == nil {
			left = status.GetQueuedCount() + status.GetRunningCount() + status.GetOutboxCount()
		}
		if verdict.Lost == 0 && left == 0 && !r.people.undecided() {
			return e, nil
		}
		// What still happens shows in any of these.
		now := fmt.Sprint(len(e.Said), len(e.Decided), len(e.Heard), len(e.Ran), left)
		if now != before {
			before, since = now, time.Now()
		}
		if time.Since(since) > insistAfter {
			r.people.insist()
		}
		if time.Since(since) > r.Patience {
			return e, nil
		}
	}
}

// inDoubt asks the gateway which of its sends were in doubt.
func (r *run) inDoubt(ctx context.Context, conn *grpc.ClientConn, e Evidence) (map[Place]int, error) {
	client := gatewayv1.NewGatewayServiceClient(conn)
	heard := map[Place]map[int64]bool{}
	for _, m := range e.Heard {
		at := Place{m.ChatID, m.ReplyTo}
		if heard[at] == nil {
			heard[at] = map[int64]bool{}
		}
		heard[at][m.MessageID] = true
	}
	doubt := map[Place]int{}
	for _, s := range e.Said {
		sends, err := r.traced(ctx, client, s.Place, heard[s.Place])
		if err != nil {
			return nil, err
		}
		doubt[s.Place] = sends
	}
	return doubt, nil
}

// traced counts the sends of a message's answers that were in doubt. The update
// is the one whose trace names a message that was heard: ids come back.
func (r *run) traced(ctx context.Context, client gatewayv1.GatewayServiceClient, at Place, heard map[int64]bool) (int, error) {
	if len(heard) == 0 {
		return 0, nil
	}
	for generation := int64(r.people.restarts) + 2; generation > 0; generation-- {
		trace, err := traceOf(ctx, client, &gatewayv1.GetUpdateTraceRequest{UpdateId: r.people.updates[at], Generation: generation})
		switch status.Code(err) {
		case codes.OK:
		case codes.NotFound: // no update of this generation has the id
			continue
		default:
			return 0, err
		}
		mine, sends := false, 0
		for _, o := range trace.GetOutbox() {
			mine = mine || heard[o.GetMessageId()]
			if o.GetKind() == "answer" || o.GetKind() == "reply" {
				sends += int(o.GetDoubts())
			}
		}
		if mine && trace.GetSessionId() == fmt.Sprintf("telegram:%d", at.Chat) {
			return sends, nil
		}
	}
	return 0, ctx.Err()
}

// traceOf asks as often as one caller may: there are thousands of messages, and an
// answer that is not given is no answer that nothing was in doubt.
func traceOf(ctx context.Context, client gatewayv1.GatewayServiceClient, of *gatewayv1.GetUpdateTraceRequest) (*gatewayv1.GetUpdateTraceResponse, error) {
	for {
		answer, err := client.GetUpdateTrace(ctx, of)
		if status.Code(err) != codes.ResourceExhausted || ctx.Err() != nil {
			return answer, err
		}
		sleep(ctx, 50*time.Millisecond)
	}
}
