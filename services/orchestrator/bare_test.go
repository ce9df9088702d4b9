package orchestrator_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
)

// The baselines: what Codex's pipe, the disk and gRPC take by themselves, with nothing
// of the project's around them.

// bare is a server that sends what turn tells it to.
type bare struct {
	orchestratorv1.UnimplementedOrchestratorServiceServer
	turn func(send func(*orchestratorv1.TurnEvent) error) error
}

func (s bare) RunTurn(_ *orchestratorv1.RunTurnRequest, stream grpc.ServerStreamingServer[orchestratorv1.RunTurnResponse]) error {
	payload := &orchestratorv1.RunTurnResponse_Event{}
	response := &orchestratorv1.RunTurnResponse{Payload: payload}
	return s.turn(func(event *orchestratorv1.TurnEvent) error {
		payload.Event = event
		return stream.Send(response)
	})
}

// bareTurn serves turn on loopback, and calls received with each event of its stream.
func bareTurn(b *testing.B, turn func(send func(*orchestratorv1.TurnEvent) error) error, received func(*orchestratorv1.TurnEvent)) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	server := grpc.NewServer()
	orchestratorv1.RegisterOrchestratorServiceServer(server, bare{turn: turn})
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
	stream, err := orchestratorv1.NewOrchestratorServiceClient(conn).RunTurn(b.Context(), &orchestratorv1.RunTurnRequest{})
	if err != nil {
		b.Fatal(err)
	}
	for {
		response, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			b.Fatal(err)
		}
		received(response.GetEvent())
	}
}

// bareStream is how long gRPC takes for benchEvents times the same event.
func bareStream(b *testing.B, event *orchestratorv1.TurnEvent) time.Duration {
	began := time.Now()
	bareTurn(b, func(send func(*orchestratorv1.TurnEvent) error) error {
		for range benchEvents {
			if err := send(event); err != nil {
				return err
			}
		}
		return nil
	}, func(*orchestratorv1.TurnEvent) {})
	return time.Since(began)
}

// bareCodex runs fakecodex by itself, and read on its output.
func bareCodex(b *testing.B, read func(io.Reader) error, env ...string) error {
	cmd := exec.CommandContext(b.Context(), fakecodex, "--ask-for-approval", "never", "exec", "--json", "--skip-git-repo-check", "--sandbox", "workspace-write", "-")
	cmd.Env = append(append(os.Environ(), "CODEX_HOME="+b.TempDir()), env...)
	cmd.Stdin = strings.NewReader("hello")
	output, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	err = read(output)
	return errors.Join(err, cmd.Wait())
}

// barePipe is how long it takes to read what Codex writes, and to do nothing with it;
// its start is included.
func barePipe(b *testing.B) time.Duration {
	count, began := 0, time.Now()
	err := bareCodex(b, func(output io.Reader) error {
		for buffer := make([]byte, 64<<10); ; {
			n, err := output.Read(buffer)
			count += bytes.Count(buffer[:n], []byte{'\n'})
			if errors.Is(err, io.EOF) {
				return nil
			} else if err != nil {
				return err
			}
		}
	}, "FAKE_CODEX_SCENARIO=flood", "FAKE_CODEX_BYTES=256", fmt.Sprintf("FAKE_CODEX_EVENTS=%d", benchEvents))
	if err != nil || count < benchEvents {
		b.Fatalf("%d of %d lines, %v", count, benchEvents, err)
	}
	return time.Since(began)
}

// bareDelays is how long events of paced take through the pipe, onto the disk and
// through gRPC, where the least is done that "stored before shown" asks for: a page of
// a file that keeps its length is written and synced.
func bareDelays(b *testing.B) (delays []time.Duration) {
	file := pages(b)
	page := make([]byte, pageSize)
	store := func(at int64) error {
		_, err := file.WriteAt(page, at%pageCount*pageSize)
		return errors.Join(err, file.Sync())
	}
	bareTurn(b, func(send func(*orchestratorv1.TurnEvent) error) error {
		return bareCodex(b, func(output io.Reader) error {
			lines := bufio.NewScanner(output)
			for at := int64(0); lines.Scan(); at++ {
				var line struct{ Item struct{ Text string } }
				if err := errors.Join(json.Unmarshal(lines.Bytes(), &line), store(at)); err != nil {
					return err
				}
				if err := send(&orchestratorv1.TurnEvent{Text: line.Item.Text}); err != nil {
					return err
				}
			}
			return lines.Err()
		}, paced...)
	}, func(event *orchestratorv1.TurnEvent) {
		if took, ok := sinceWritten(event); ok {
			delays = append(delays, took)
		}
	})
	return delays
}

// paced is 500 events at 100 a second, each with the time of its writing.
var paced = []string{"FAKE_CODEX_SCENARIO=paced", "FAKE_CODEX_EVENTS=500", "FAKE_CODEX_RATE=100"}

// sinceWritten is how long ago an event of paced was written by Codex.
func sinceWritten(event *orchestratorv1.TurnEvent) (time.Duration, bool) {
	now := time.Now()
	written, err := strconv.ParseInt(event.GetText(), 10, 64)
	return now.Sub(time.Unix(0, written)), err == nil
}

const pageCount, pageSize = 1000, 4096

// pages is a file of pages that are on the disk.
func pages(b *testing.B) *os.File {
	file, err := os.Create(filepath.Join(b.TempDir(), "pages"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := file.Close(); err != nil {
			b.Error(err)
		}
	})
	if _, err := file.Write(make([]byte, pageCount*pageSize)); err != nil {
		b.Fatal(err)
	}
	if err := file.Sync(); err != nil {
		b.Fatal(err)
	}
	return file
}

// fsyncs measures the disk: a page is written at a file's end, then synced, at the
// same pace.
func fsyncs(b *testing.B) (took []time.Duration) {
	file, err := os.Create(filepath.Join(b.TempDir(), "sync"))
	if err != nil {
		b.Fatal(err)
	}
	defer file.Close()
	page := make([]byte, pageSize)
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
