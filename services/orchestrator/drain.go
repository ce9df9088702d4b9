package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"time"

	"golang.org/x/term"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
	"telecodex.dev/services/internal/command"
	"telecodex.dev/services/internal/health"
	"telecodex.dev/services/internal/lifecycle"
	"telecodex.dev/services/internal/refusal"
	"telecodex.dev/services/internal/rpc"
)

const drainWord = "drain"

// answerLimit is how long a worker of this machine may take to answer.
const answerLimit = 10 * time.Second

func drainPage() command.Command {
	return command.Command{
		Name:     "orchestrator " + drainWord,
		Summary:  "have the worker that runs here take no new turns",
		Synopsis: []string{"orchestrator drain [--patience SECONDS] [--detach] [--flag value …]", "orchestrator drain --undo [--flag value …]"},
		Description: "Asks the worker that was started with the same flags and variables to take no new turns, and waits until none runs. " +
			"What still runs after the patience is stopped; its people are asked what is to become of it. New sessions go to other " +
			"workers; those that this one holds wait for it, or for their move. The worker keeps running and answering; it takes turns " +
			"again after --undo, or when it is started anew. Interrupted, the command leaves the worker draining.",
		Flags: slices.Concat([]command.Flag{
			{Name: "--patience", Value: "SECONDS", Default: "the worker's ORCHESTRATOR_DRAIN_S", Help: "seconds that running turns get"},
			{Name: "--undo", Help: "take turns again"},
			{Name: "--detach", Help: "ask, and do not wait"},
		}, Flags()),
		Variables: Variables(),
		Statuses: []command.Entry{{Name: "0", Text: "No turn runs any more; with --detach or --undo: it was asked."},
			{Name: "1", Text: "The worker cannot be asked, or was started anew meanwhile; standard error says which."},
			{Name: "2", Text: "The command line or configuration is invalid; one line of JSON on standard output says why."}},
		Examples: []command.Entry{{Name: "orchestrator drain --patience 600", Text: "Before maintenance, ten minutes for what runs."}},
	}
}

// report carries out a command, and says on standard error why it could not.
func report(stderr io.Writer, do func() error) int {
	if err := do(); err != nil {
		_, _ = fmt.Fprintln(stderr, "orchestrator: "+err.Error()) // there is no other place to say it
		return lifecycle.ExitFailed
	}
	return lifecycle.ExitOK
}

func runDrain(ctx context.Context, c Config, given command.Values, stdout, stderr io.Writer) int {
	request := &orchestratorv1.DrainWorkerRequest{Undo: given["--undo"] == "true"}
	if text, asked := given["--patience"]; asked {
		seconds, err := strconv.ParseFloat(text, 64)
		if err != nil || !(seconds >= 0 && seconds <= 7*24*3600) {
			return refusal.Print(stdout, errors.New("--patience must be a number of seconds, at most 7 days"))
		}
		request.Patience = durationpb.New(time.Duration(seconds * float64(time.Second)))
	}
	return report(stderr, func() error {
		client, done, err := c.reach()
		if err != nil {
			return err
		}
		defer done()
		within, cancel := context.WithTimeout(ctx, answerLimit)
		defer cancel()
		answer, err := client.DrainWorker(within, request)
		if err != nil {
			return unanswered(err)
		}
		d := &draining{client: client, worker: answer, out: stdout, until: time.Now().Add(answer.GetPatience().AsDuration())}
		if file, ok := stdout.(*os.File); ok {
			d.terminal = term.IsTerminal(int(file.Fd()))
		}
		switch {
		case request.GetUndo():
			return d.say("worker %s takes turns again", answer.GetWorkerId())
		case given["--detach"] == "true":
			return d.say("worker %s takes no new turns; %s", answer.GetWorkerId(), d.left(int(answer.GetSlotsUsed())))
		}
		return d.wait(ctx)
	})
}

// reach connects to the worker that was started with these settings.
func (c Config) reach() (client orchestratorv1.OrchestratorServiceClient, done func(), err error) {
	target, err := health.Reach(c.ListenAddr)
	if err != nil {
		return nil, nil, fmt.Errorf("ORCHESTRATOR_LISTEN_ADDR: %w", err)
	}
	self, err := c.Access.Self()
	if err != nil {
		return nil, nil, err
	}
	conn, err := rpc.Dial(target, self)
	if err != nil {
		return nil, nil, err
	}
	return orchestratorv1.NewOrchestratorServiceClient(conn), func() { _ = conn.Close() }, nil // nothing is to be done about it
}

// unanswered is an error of a call, for a person.
func unanswered(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("the worker does not answer: %s", status.Convert(err).Message())
}

// draining shows how a worker empties.
type draining struct {
	client   orchestratorv1.OrchestratorServiceClient
	worker   *orchestratorv1.DrainWorkerResponse
	out      io.Writer
	terminal bool
	until    time.Time
}

func (d *draining) say(format string, args ...any) error {
	_, err := fmt.Fprintf(d.out, format+"\n", args...)
	return err
}

// left says what runs.
func (d *draining) left(turns int) string {
	switch seconds := max(time.Until(d.until), 0).Round(time.Second); {
	case turns == 0:
		return "none runs"
	case turns == 1:
		return fmt.Sprintf("1 turn runs, for %s at most", seconds)
	default:
		return fmt.Sprintf("%d turns run, for %s at most", turns, seconds)
	}
}

// states reads what the worker says of itself into a channel, to the end of ctx.
func (d *draining) states(ctx context.Context) (<-chan *orchestratorv1.WatchWorkerResponse, <-chan error) {
	states, failed := make(chan *orchestratorv1.WatchWorkerResponse), make(chan error, 1)
	go func() {
		stream, err := d.client.WatchWorker(ctx, &orchestratorv1.WatchWorkerRequest{})
		for err == nil {
			var state *orchestratorv1.WatchWorkerResponse
			if state, err = stream.Recv(); err == nil {
				select {
				case states <- state:
				case <-ctx.Done():
					err = ctx.Err()
				}
			}
		}
		failed <- err
	}()
	return states, failed
}

// wait shows how many turns run until none does: on a terminal one line that
// changes, with the time that is left; elsewhere a line for each change.
func (d *draining) wait(interrupt context.Context) error {
	ctx, cancel := context.WithCancel(interrupt)
	defer cancel()
	states, failed := d.states(ctx)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for turns := -1; ; {
		select {
		case err := <-failed:
			if err = unanswered(err); interrupt.Err() != nil {
				err = errors.New("interrupted: the worker goes on draining")
			}
			return errors.Join(d.end(), err)
		case <-tick.C:
			if !d.terminal || turns < 0 {
				continue
			}
		case state := <-states:
			switch {
			case state.GetProcessId() != d.worker.GetProcessId() || !state.GetDraining():
				return errors.Join(d.end(), errors.New("the worker takes turns again: it was started anew, or somebody asked it to"))
			case state.GetSlotsUsed() == 0:
				return errors.Join(d.end(), d.say("worker %s is empty and takes no turns until `orchestrator drain --undo` or its next start", d.worker.GetWorkerId()))
			case int(state.GetSlotsUsed()) == turns:
				continue
			}
			turns = int(state.GetSlotsUsed())
		}
		if err := d.show(turns); err != nil {
			return err
		}
	}
}

func (d *draining) show(turns int) error {
	if !d.terminal {
		return d.say("draining: %s", d.left(turns))
	}
	_, err := fmt.Fprintf(d.out, "\r\x1b[Kdraining: %s", d.left(turns))
	return err
}

// end clears the line that changes.
func (d *draining) end() error {
	if !d.terminal {
		return nil
	}
	_, err := io.WriteString(d.out, "\r\x1b[K")
	return err
}
