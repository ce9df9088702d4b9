package codex

import (
	"errors"
	"io"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
)

// maxBatch bounds what one call of Next returns, in events and in bytes of lines:
// the events of a batch live until the last of them is stored.
const (
	maxBatch      = 256
	maxBatchBytes = 1 << 20
)

// Stats counts what a decoder has seen.
type Stats struct {
	Lines         uint64 // blank ones among them
	Bytes         uint64 // of lines, without their ends
	UnknownEvents uint64 // events of an unknown type
	UnknownItems  uint64 // items of an unknown type
	LineErrors    uint64 // lines that are no event
	LongestLine   uint64 // bytes, without the line end
}

// Decoder turns the output of `codex exec --json` into events. Every line that is
// not blank becomes at least one event, whatever it holds; no line ends the stream.
// A decoder is for one goroutine.
type Decoder struct {
	lines   *lineReader
	now     func() time.Time
	stats   Stats
	pending []*event // made, not yet returned
}

// NewDecoder decodes what source gives; now says when a line was read.
func NewDecoder(source io.Reader, now func() time.Time) *Decoder {
	return &Decoder{lines: newLineReader(source), now: now}
}

// Next returns the events of the next lines, at least one and at most 256,
// without turn_id and sequence. It waits for input only while it has no event to
// return. At the end of the output it returns io.EOF, and the source's error where
// that is another. The events are the caller's, except for OccurredAt, which the
// events of one call share and nobody may change.
func (d *Decoder) Next() ([]*orchestratorv1.TurnEvent, error) {
	if len(d.pending) > 0 {
		return d.take(d.pending), nil
	}
	var batch []*event
	var bytes uint64
	n := normalizer{stats: &d.stats}
	for len(batch) < maxBatch && bytes < maxBatchBytes {
		l, err := d.lines.next(len(batch) == 0)
		if errors.Is(err, errNoLine) {
			break
		}
		if err != nil {
			if len(batch) > 0 {
				break // the reader keeps its error
			}
			return nil, err
		}
		if n.now == nil {
			n.now = timestamppb.New(d.now())
		}
		bytes += l.size
		batch = d.decode(batch, n, l)
	}
	return d.take(batch), nil
}

// Stats returns the counters.
func (d *Decoder) Stats() Stats { return d.stats }

// take returns the first events of a batch and keeps the rest.
func (d *Decoder) take(batch []*event) []*event {
	n := min(len(batch), maxBatch)
	d.pending = batch[n:]
	return batch[:n:n]
}

// decode appends the events of a line.
func (d *Decoder) decode(batch []*event, n normalizer, l line) []*event {
	d.stats.Lines++
	d.stats.Bytes += l.size
	d.stats.LongestLine = max(d.stats.LongestLine, l.size)
	if l.size == 0 || l.text != nil && skipSpace(l.text, 0) == len(l.text) {
		return batch
	}
	phase := orchestratorv1.LinePhase_LINE_PHASE_PARSE
	object, why := parse(l)
	if why == reasonNone {
		phase = orchestratorv1.LinePhase_LINE_PHASE_NORMALIZE
		if batch, why = n.events(batch, object); why == reasonNone {
			return batch
		}
	}
	d.stats.LineErrors++
	failure := lineError(l, phase, why)
	failure.OccurredAt = n.now
	return append(batch, failure)
}

// parse takes a line for a JSON object.
func parse(l line) (value, reason) {
	if l.text == nil {
		return nil, reasonTooLong
	}
	switch checkSyntax(l.text) {
	case syntaxInvalid:
		return nil, reasonNotJSON
	case syntaxTooDeep:
		return nil, reasonTooDeep
	}
	object := value(l.text[skipSpace(l.text, 0):])
	if !object.isObject() {
		return nil, reasonNotObject
	}
	return object, reasonNone
}
