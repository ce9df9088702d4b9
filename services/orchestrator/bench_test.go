package orchestrator_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
	"telecodex.dev/services/internal/bound"
	"telecodex.dev/services/orchestrator"
)

// benchEvents is how many events a bare stream and the relay of one turn move.
const benchEvents = 200_000

// BenchmarkRelay is the rate of events from Codex's stdout to a client's receive,
// journal and all, next to a bare gRPC stream of the same messages, and to Codex's
// pipe when it is only read.
func BenchmarkRelay(b *testing.B) {
	for _, tt := range []struct{ turns, each int }{{1, benchEvents}, {64, 12_500}} {
		b.Run(fmt.Sprintf("turns=%d", tt.turns), func(b *testing.B) {
			var relayed, bare, pipe time.Duration
			for b.Loop() {
				w := start(b, func(c *orchestrator.Config) { c.MaxTurns = tt.turns })
				took, sample := relay(b, w, tt.turns, tt.each)
				relayed += took
				w.stop()
				bare += bareStream(b, sample)
				pipe += barePipe(b)
			}
			rate := float64(b.N*tt.turns*tt.each) / relayed.Seconds()
			bareRate := float64(b.N*benchEvents) / bare.Seconds()
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(rate, "events/s")
			b.ReportMetric(bareRate, "bare-events/s")
			b.ReportMetric(float64(b.N*benchEvents)/pipe.Seconds(), "pipe-events/s")
			bound.Bound{Unit: "ratio", Limit: 0.2, Least: true}.Report(b, rate/bareRate)
		})
	}
}

// relay runs turns at once and returns how long that took, spawns included, and
// one of the events.
func relay(b *testing.B, w *worker, turns, each int) (took time.Duration, sample *orchestratorv1.TurnEvent) {
	streams := make([]*eventStream, turns)
	var group sync.WaitGroup
	began := time.Now()
	for i := range streams {
		streams[i] = w.run(request(fmt.Sprintf("t%d", i), "flood", "FAKE_CODEX_BYTES=256", "FAKE_CODEX_EVENTS="+strconv.Itoa(each)))
		group.Go(func() {
			count := 0
			for {
				_, event, err := streams[i].recv()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					b.Error(err)
					break
				}
				count++
				if i == 0 && event.GetItemCompleted() != nil {
					sample = event
				}
			}
			if count < each {
				b.Errorf("%d of %d events", count, each)
			}
		})
	}
	group.Wait()
	return time.Since(began), sample
}

// bare is a server that sends one event over and over.
type bare struct {
	orchestratorv1.UnimplementedOrchestratorServiceServer
	event *orchestratorv1.TurnEvent
}

func (s bare) RunTurn(_ *orchestratorv1.RunTurnRequest, stream grpc.ServerStreamingServer[orchestratorv1.RunTurnResponse]) error {
	response := &orchestratorv1.RunTurnResponse{Payload: &orchestratorv1.RunTurnResponse_Event{Event: s.event}}
	for range benchEvents {
		if err := stream.Send(response); err != nil {
			return err
		}
	}
	return nil
}

// bareStream is how long gRPC alone takes: nothing of the project's is around it.
func bareStream(b *testing.B, event *orchestratorv1.TurnEvent) time.Duration {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	server := grpc.NewServer()
	orchestratorv1.RegisterOrchestratorServiceServer(server, bare{event: event})
	done := make(chan error, 1)
	go func() { done <- server.Serve(lis) }()
	conn, err := grpc.NewClient(lis.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		err := conn.Close()
		server.GracefulStop()
		if err := errors.Join(<-done, err); err != nil {
			b.Error(err)
		}
	}()
	began := time.Now()
	stream, err := orchestratorv1.NewOrchestratorServiceClient(conn).RunTurn(b.Context(), &orchestratorv1.RunTurnRequest{})
	if err != nil {
		b.Fatal(err)
	}
	for {
		if _, err := stream.Recv(); errors.Is(err, io.EOF) {
			return time.Since(began)
		} else if err != nil {
			b.Fatal(err)
		}
	}
}

// barePipe is how long it takes to read what Codex writes, and to do nothing with it;
// its start is included.
func barePipe(b *testing.B) time.Duration {
	cmd := exec.CommandContext(b.Context(), fakecodex, "--ask-for-approval", "never", "exec", "--json", "--skip-git-repo-check", "--sandbox", "workspace-write", "-")
	cmd.Env = append(os.Environ(), "FAKE_CODEX_SCENARIO=flood", "FAKE_CODEX_BYTES=256", fmt.Sprintf("FAKE_CODEX_EVENTS=%d", benchEvents),
		"CODEX_HOME="+b.TempDir())
	cmd.Stdin = strings.NewReader("hello")
	began := time.Now()
	output, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	count, buffer := 0, make([]byte, 64<<10)
	for {
		n, err := output.Read(buffer)
		count += bytes.Count(buffer[:n], []byte{'\n'})
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			b.Fatal(err)
		}
	}
	if err := cmd.Wait(); err != nil || count < benchEvents {
		b.Fatalf("%d of %d lines, %v", count, benchEvents, err)
	}
	return time.Since(began)
}

// BenchmarkDelay is the time from Codex's write of an event to a client's
// receive, at 100 events a second, next to what the disk takes for one fsync.
func BenchmarkDelay(b *testing.B) {
	var delays, syncs []time.Duration
	for b.Loop() {
		w := start(b)
		stream := w.run(request("t1", "paced", "FAKE_CODEX_EVENTS=500", "FAKE_CODEX_RATE=100"))
		for {
			_, event, err := stream.recv()
			now := time.Now()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				b.Fatal(err)
			}
			if written, err := strconv.ParseInt(event.GetText(), 10, 64); err == nil {
				delays = append(delays, now.Sub(time.Unix(0, written)))
			}
		}
		w.stop()
		syncs = append(syncs, fsyncs(b)...)
	}
	b.ReportMetric(0, "ns/op")
	at := func(d []time.Duration, hundredths int) float64 {
		slices.Sort(d)
		return float64(d[len(d)*hundredths/100].Microseconds())
	}
	half, fsync := at(delays, 50), at(syncs, 50)
	b.ReportMetric(fsync, "fsync-p50-µs")
	bound.Bound{Unit: "p50-µs", Limit: 1000}.Report(b, half)
	bound.Bound{Unit: "p99-µs", Limit: 5000}.Report(b, at(delays, 99))
	bound.Bound{Unit: "p50-above-fsync-µs", Limit: 900}.Report(b, half-fsync)
}

// fsyncs measures the disk: a page is written, then synced, at the same pace.
func fsyncs(b *testing.B) (took []time.Duration) {
	file, err := os.Create(filepath.Join(b.TempDir(), "sync"))
	if err != nil {
		b.Fatal(err)
	}
	defer file.Close()
	page := make([]byte, 4096)
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for range 200 {
		<-ticker.C
		began := time.Now()
		if _, err := file.Write(page); err != nil {
			b.Fatal(err)
		}
		if err := file.Sync(); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(began))
	}
	return took
}
