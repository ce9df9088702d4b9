package cycle

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	diagnosticsv1 "telecodex.dev/gen/telecodex/diagnostics/v1"
	telemetryv1 "telecodex.dev/gen/telecodex/telemetry/v1"
)

// tally is what a cycle has counted so far.
type tally struct {
	done         bool // complete
	silent       bool // nothing was fetched and nobody asked
	failure      string
	fetchedCount int
	sent         int
	acked        int
	ackSkipped   int
	ackFailed    error // why no update can be acknowledged; nil: they can
	retries      int
	fetchTime    time.Duration
	sendTime     time.Duration
	dropped      []*telemetryv1.DroppedUpdate
	errors       []string
	details      []*diagnosticsv1.ErrorDetail
}

// add notes a detail once, however often it is met.
func (y *tally) add(d Detail) {
	r := d.render()
	for _, known := range y.details {
		if known.GetDiagnosticId() == r.GetDiagnosticId() {
			return
		}
	}
	y.details = append(y.details, r)
	if r.GetCategory() == categoryError {
		y.errors = append(y.errors, r.GetMessage())
	}
}

// drop notes an update of a chat that was refused, and why. A drop is no error.
func (y *tally) drop(d Detail, chatID int64) {
	y.add(d)
	y.dropped = append(y.dropped, &telemetryv1.DroppedUpdate{
		UpdateId: decimal(d.UpdateID), ChatId: decimal(chatID), Reason: tidy(d.Message)})
}

// acknowledge counts an update as acknowledged, or says why it cannot be.
func (y *tally) acknowledge(updateID int64) {
	if y.ackFailed == nil {
		y.acked++
		return
	}
	y.add(Detail{Code: AckFailed, UpdateID: updateID,
		Message: fmt.Sprintf("update %d: ack failed: CursorFileError: %v", updateID, y.ackFailed)})
}

// Reasons of reports that did not fail. Those of the others are codes of details.
const (
	withErrors = "completed-with-errors"
	noUpdates  = "no-updates"
	processed  = "processed"
)

// Reasons are the reasons of all reports.
func Reasons() []string {
	return []string{withErrors, noUpdates, processed, FetchException, ProcessOnceFailed, LoopCycleFailed}
}

// outcome is the report's status and reason.
func (y *tally) outcome() (status, reason string) {
	switch {
	case y.failure != "":
		return "failed", y.failure
	case len(y.errors) > 0:
		return "ok", withErrors
	case y.fetchedCount == 0:
		return "ok", noUpdates
	}
	return "ok", processed
}

// measured is what the keys say that were placeholders once.
const measured = "measured"

func (y *tally) report(took time.Duration, queueDepth, workerRestarts int) *telemetryv1.CycleReport {
	status, reason := y.outcome()
	return &telemetryv1.CycleReport{
		Status:          status,
		Reason:          reason,
		FetchedCount:    count(y.fetchedCount),
		SentCount:       count(y.sent),
		AckedCount:      count(y.acked),
		AckSkippedCount: count(y.ackSkipped),
		ErrorCount:      count(len(y.errors)),
		Errors:          y.errors,
		ErrorDetails:    y.details,
		DroppedCount:    count(len(y.dropped)),
		DroppedUpdates:  y.dropped,
		Telemetry: &telemetryv1.Telemetry{
			Contract: "tg-live.runtime.telemetry",
			Version:  "2.0",
			Counters: &telemetryv1.Counters{
				FetchTotal:         count(y.fetchedCount),
				SendTotal:          count(y.sent),
				DropTotal:          count(len(y.dropped)),
				RetryTotal:         count(y.retries),
				QueueDepth:         count(queueDepth),
				WorkerRestartTotal: count(workerRestarts),
			},
			TimersMs:     &telemetryv1.TimersMs{CycleTotal: ms(took), Fetch: ms(y.fetchTime), Send: ms(y.sendTime)},
			Heartbeat:    &telemetryv1.Heartbeat{EmitState: Disabled},
			Placeholders: &telemetryv1.Placeholders{RetryTotal: measured, QueueDepth: measured, WorkerRestartTotal: measured},
		},
	}
}

// States of a heartbeat.
const (
	Disabled   = "disabled"    // there was nothing to emit, or nowhere to
	Emitted    = "emitted"     // every event was accepted
	EmitFailed = "emit-failed" // at least one was not
)

// setHeartbeat says in a report what became of its events.
func setHeartbeat(r *telemetryv1.CycleReport, failures int) {
	state := Emitted
	if failures > 0 {
		state = EmitFailed
	}
	r.HeartbeatEmitFailures = count(failures)
	r.Telemetry.Counters.HeartbeatEmitFailures = count(failures)
	r.Telemetry.Heartbeat.EmitState = state
}

func count(n int) int32 { return int32(max(0, min(n, math.MaxInt32))) }

func ms(d time.Duration) int32 { return int32(max(0, min(d.Milliseconds(), math.MaxInt32))) }

// JSON renders a report as one line without its line end: every key of the
// message, by its proto name, sorted. A message that is not set is one whose
// fields are all empty.
func JSON(m proto.Message) ([]byte, error) {
	m = proto.Clone(m)
	complete(m.ProtoReflect())
	text, err := protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: true}.Marshal(m)
	if err != nil {
		return nil, err
	}
	// protojson varies its whitespace on purpose and keeps the order of the
	// fields; a map is written with its keys sorted.
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var tree any
	if err := decoder.Decode(&tree); err != nil {
		return nil, err
	}
	var line bytes.Buffer
	encoder := json.NewEncoder(&line)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(tree); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(line.Bytes(), []byte("\n")), nil
}

// complete sets every message within m that is not set.
func complete(m protoreflect.Message) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		field := fields.Get(i)
		if field.Message() == nil {
			continue
		}
		if !field.IsList() {
			complete(m.Mutable(field).Message())
			continue
		}
		list := m.Get(field).List()
		for j := range list.Len() {
			complete(list.Get(j).Message())
		}
	}
}
