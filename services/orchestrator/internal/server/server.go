// Package server is the worker's gRPC edge: it validates every field of a
// request, streams what the turn package yields, and turns what went wrong into a
// status with a reason. Nothing is decided here about a turn.
package server

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
	"telecodex.dev/services/internal/crashpoint"
	"telecodex.dev/services/internal/tracing"
	"telecodex.dev/services/orchestrator/internal/codex"
	"telecodex.dev/services/orchestrator/internal/journal"
	"telecodex.dev/services/orchestrator/internal/meters"
	"telecodex.dev/services/orchestrator/internal/turn"
)

// versionTimeout bounds how long Codex may take to say its version.
const versionTimeout = 10 * time.Second

// Bounds of a page of turns. A response stays below the 4 MiB that gRPC clients
// accept by default: the first turn may add 128 KiB to pageBytes.
const (
	defaultPage = 100
	maxPage     = 1000
	pageBytes   = 2 << 20
)

// Options are what a server works with.
type Options struct {
	Manager     *turn.Manager
	Journal     *journal.Journal
	Engine      codex.Engine
	WorkerID    string
	ProcessID   string
	Starts      int           // of the worker's processes, this one included
	Drain       time.Duration // patience with running turns where a caller names none
	Containment string
	Workspaces  Workspaces
	Sandboxes   []string // sandbox modes a request may ask for
	Base        codex.Base
	Env         map[string]string // environment of Codex, below the request's own
	Mask        []string          // what Codex must not see
	Keep        []string          // and what of it nevertheless
	Meter       *meters.Meter
	Trace       *tracing.Tracer
}

// Server implements OrchestratorService.
type Server struct {
	orchestratorv1.UnimplementedOrchestratorServiceServer
	o Options
}

// New returns a server.
func New(o Options) *Server { return &Server{o: o} }

// GetTurn says what the journal knows about a turn.
func (s *Server) GetTurn(ctx context.Context, r *orchestratorv1.GetTurnRequest) (*orchestratorv1.GetTurnResponse, error) {
	if err := checkTurnID(r.GetTurnId()); err != nil {
		return nil, err
	}
	record, err := s.o.Journal.Get(ctx, r.GetTurnId())
	if err != nil {
		return nil, failure(err)
	}
	return &orchestratorv1.GetTurnResponse{Turn: turnOf(record)}, nil
}

// ListTurns pages through the journal (AIP-158).
func (s *Server) ListTurns(ctx context.Context, r *orchestratorv1.ListTurnsRequest) (*orchestratorv1.ListTurnsResponse, error) {
	page := journal.Page{Limit: int(r.GetPageSize()), Bytes: pageBytes, UnacknowledgedOnly: r.GetUnacknowledgedOnly()}
	switch {
	case page.Limit < 0:
		return nil, invalid("page_size", "must not be negative")
	case page.Limit == 0:
		page.Limit = defaultPage
	case page.Limit > maxPage:
		page.Limit = maxPage
	}
	var err error
	if page.AfterRow, err = parsePageToken(r.GetPageToken()); err != nil {
		return nil, err
	}
	records, more, err := s.o.Journal.List(ctx, page)
	if err != nil {
		return nil, failure(err)
	}
	response := &orchestratorv1.ListTurnsResponse{}
	for _, record := range records {
		response.Turns = append(response.Turns, turnOf(record))
	}
	if more {
		response.NextPageToken = pageToken(records[len(records)-1].Row)
	}
	return response, nil
}

// A page token is the row after which the page begins.
func pageToken(row int64) string {
	return base64.RawURLEncoding.EncodeToString(binary.AppendVarint(nil, row))
}

func parsePageToken(token string) (int64, error) {
	if token == "" {
		return 0, nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(token)
	row, n := binary.Varint(raw)
	if err != nil || n <= 0 || n != len(raw) || row < 0 {
		return 0, invalid("page_token", "is not a token of this worker")
	}
	return row, nil
}

// CancelTurn asks a turn to stop; an unknown id becomes a tombstone.
func (s *Server) CancelTurn(ctx context.Context, r *orchestratorv1.CancelTurnRequest) (*orchestratorv1.CancelTurnResponse, error) {
	if err := checkTurnID(r.GetTurnId()); err != nil {
		return nil, err
	}
	record, err := s.o.Manager.Cancel(ctx, r.GetTurnId())
	if err != nil {
		return nil, failure(err)
	}
	return &orchestratorv1.CancelTurnResponse{Turn: turnOf(record)}, nil
}

// AcknowledgeTurn notes that the caller has stored the outcome.
func (s *Server) AcknowledgeTurn(_ context.Context, r *orchestratorv1.AcknowledgeTurnRequest) (*orchestratorv1.AcknowledgeTurnResponse, error) {
	if err := checkTurnID(r.GetTurnId()); err != nil {
		return nil, err
	}
	if err := s.o.Journal.Acknowledge(r.GetTurnId(), time.Now()); err != nil {
		return nil, failure(err)
	}
	crashpoint.Here(crashpoint.Forgotten)
	return &orchestratorv1.AcknowledgeTurnResponse{}, nil
}

// GetCapabilities says what this worker honours.
func (s *Server) GetCapabilities(ctx context.Context, _ *orchestratorv1.GetCapabilitiesRequest) (*orchestratorv1.GetCapabilitiesResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, versionTimeout)
	defer cancel()
	version, err := s.o.Engine.Version(ctx)
	if err != nil {
		version = "" // a Codex that cannot be run has none; `doctor` says why
	}
	return &orchestratorv1.GetCapabilitiesResponse{
		Capabilities:          codex.Capabilities(),
		ExtensionKeys:         codex.ExtensionKeys(),
		AllowedSandboxModes:   slices.Sorted(slices.Values(s.o.Sandboxes)),
		CodexVersion:          version,
		TestedCodexVersionMin: codex.TestedVersionMin,
		TestedCodexVersionMax: codex.TestedVersionMax,
		WorkerId:              s.o.WorkerID,
		JournalId:             s.o.Journal.ID(),
		Containment:           s.o.Containment,
	}, nil
}

// turnOf shows a record.
func turnOf(r journal.Record) *orchestratorv1.Turn {
	return &orchestratorv1.Turn{
		TurnId:       r.TurnID,
		SessionId:    r.SessionID,
		ThreadId:     r.ThreadID,
		State:        r.State,
		LastSequence: r.LastSequence,
		CreatedAt:    timestamp(r.CreatedAt),
		StartedAt:    timestamp(r.StartedAt),
		FinishedAt:   timestamp(r.FinishedAt),
		Acknowledged: r.Acknowledged,
		Tombstone:    r.Tombstone,
		Finished:     r.Finished.GetFinished(),
	}
}

func timestamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}
