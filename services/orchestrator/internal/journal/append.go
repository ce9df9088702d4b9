package journal

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
)

// segmentBytes is the size beyond which a segment takes no further events, so
// that a reader never holds much more than that.
const segmentBytes = 512 << 10

// Log is the open end of a turn's events. One goroutine appends to it.
type Log struct {
	journal *Journal
	row     int64

	gathering *pending // of the gathering batch; guarded by committer.mu
	committed uint64   // last sequence; only the committing goroutine
}

// Update changes a turn's row in the transaction of an append. Zero fields
// change nothing.
type Update struct {
	State    orchestratorv1.TurnState
	ThreadID string
	Started  time.Time
	// Finished is the turn's last event, which must also be the last of the
	// appended ones; FinishedAt is its time.
	Finished   *orchestratorv1.TurnEvent
	FinishedAt time.Time
}

// pending is what a batch appends to one turn.
type pending struct {
	log       *Log
	segments  []segment
	updates   []Update
	committed []func(error)
	err       error // of this turn alone
}

// segment is one row: consecutive events, each preceded by its length.
type segment struct {
	first uint64
	count int
	data  []byte
}

// Append hands in consecutive events, whose sequence goes on where the last
// Append left off, and a change of the turn's row. It returns before they are
// committed; committed is called after that, in order of the appends, by the
// journal's own goroutine, and must not block. Append blocks while too much
// waits to be committed.
//
// committed gets the failure of the commit, or ErrGap when an earlier append of
// this turn failed: then nothing was written, and the same events may be
// appended again. When Append itself fails (ErrClosed), committed is not called.
func (l *Log) Append(events []*orchestratorv1.TurnEvent, update Update, committed func(error)) error {
	segments, err := encode(events)
	if err != nil {
		return err
	}
	return l.journal.committer.gather(func(b *batch) {
		p := l.gathering
		if p == nil {
			p = &pending{log: l}
			l.gathering = p
			b.appends = append(b.appends, p)
		}
		b.bytes += p.add(segments)
		if update != (Update{}) {
			p.updates = append(p.updates, update)
		}
		p.committed = append(p.committed, committed)
	})
}

// encode packs events into segments.
func encode(events []*orchestratorv1.TurnEvent) (segments []segment, err error) {
	var sizes [256]int
	for len(events) > 0 {
		n, total := 0, 0
		for n < len(events) && n < len(sizes) && (n == 0 || total < segmentBytes) {
			sizes[n] = proto.Size(events[n])
			total += protowire.SizeBytes(sizes[n])
			n++
		}
		s := segment{first: events[0].GetSequence(), count: n, data: make([]byte, 0, total)}
		for i, event := range events[:n] {
			s.data = protowire.AppendVarint(s.data, uint64(sizes[i]))
			if s.data, err = (proto.MarshalOptions{UseCachedSize: true}).MarshalAppend(s.data, event); err != nil {
				return nil, fmt.Errorf("encode event: %w", err)
			}
		}
		segments = append(segments, s)
		events = events[n:]
	}
	return segments, nil
}

// add joins small segments, so that a commit writes one row per turn, and
// returns the bytes it added.
func (p *pending) add(segments []segment) (bytes int) {
	for _, s := range segments {
		bytes += len(s.data)
		if n := len(p.segments); n > 0 {
			last := &p.segments[n-1]
			if last.first+uint64(last.count) == s.first && len(last.data)+len(s.data) <= segmentBytes {
				last.data = append(last.data, s.data...)
				last.count += s.count
				continue
			}
		}
		p.segments = append(p.segments, s)
	}
	return bytes
}

// maxSequence is more events than a turn has.
const maxSequence = 1<<32 - 1

// place is the key of the segment of a turn that begins with a sequence. A row
// stays below 31 bits.
func place(row int64, first uint64) int64 { return row<<32 | int64(first) }

func writeAppends(tx *sql.Tx, appends []*pending) error {
	ctx := context.Background()
	for _, p := range appends {
		next := p.log.committed + 1
		for _, s := range p.segments {
			if s.first != next {
				p.err = ErrGap
				break
			}
			next += uint64(s.count)
		}
		if p.err != nil {
			continue
		}
		for _, s := range p.segments {
			_, err := tx.ExecContext(ctx, "INSERT INTO segments (place, count, events) VALUES (?, ?, ?)",
				place(p.log.row, s.first), s.count, s.data)
			if err != nil {
				return err
			}
		}
		for _, update := range p.updates {
			if err := update.write(ctx, tx, p.log.row); err != nil {
				return err
			}
		}
	}
	return nil
}

func (u Update) write(ctx context.Context, tx *sql.Tx, row int64) error {
	var finished []byte
	var last any
	if u.Finished != nil {
		var err error
		if finished, err = proto.Marshal(u.Finished); err != nil {
			return fmt.Errorf("encode finished event: %w", err)
		}
		last = u.Finished.GetSequence()
	}
	_, err := tx.ExecContext(ctx, `UPDATE turns SET state = coalesce(nullif(?, 0), state),
		thread_id = coalesce(nullif(?, ''), thread_id), started_at = coalesce(?, started_at),
		finished = coalesce(?, finished), finished_at = coalesce(?, finished_at), last_sequence = coalesce(?, last_sequence)
		WHERE id = ?`, int32(u.State), u.ThreadID, nanos(u.Started), finished, nanos(u.FinishedAt), last, row)
	return err
}

func (p *pending) finish(err error) {
	if err == nil {
		err = p.err
	}
	if err == nil {
		for _, s := range p.segments {
			p.log.committed += uint64(s.count)
		}
	}
	for _, committed := range p.committed {
		committed(err)
	}
}

// nanos is a time as the journal stores it; nil for the zero time.
func nanos(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UnixNano()
}
