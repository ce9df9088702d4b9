package journal

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
)

var errSegment = errors.New("journal: damaged segment")

// Events reads committed events of a turn with a sequence greater than after, in
// order: those of one segment, so about 512 KiB at most. No events mean that
// there are none beyond after (or that they were dropped).
func (j *Journal) Events(ctx context.Context, row int64, after uint64) (events []*orchestratorv1.TurnEvent, err error) {
	if after >= maxSequence {
		return nil, nil
	}
	var first, count uint64
	var data []byte
	err = j.db.Read(ctx, func(tx *sql.Tx) error {
		// The one segment that may hold after+1 in its middle, else the next.
		return tx.QueryRowContext(ctx, `SELECT place - ?1, count, events FROM segments WHERE place >=
			coalesce((SELECT max(place) FROM segments WHERE place BETWEEN ?1 AND ?2), ?1) AND place < ?3
			AND place + count > ?2 ORDER BY place LIMIT 1`, place(row, 0), place(row, after+1), place(row+1, 0)).Scan(&first, &count, &data)
	})
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	skip := uint64(0)
	if after >= first {
		skip = after - first + 1
	}
	return decode(data, int(count), int(skip))
}

// decode unpacks a segment but its first skip events.
func decode(data []byte, count, skip int) ([]*orchestratorv1.TurnEvent, error) {
	events := make([]*orchestratorv1.TurnEvent, 0, count-skip)
	for i := range count {
		body, n := protowire.ConsumeBytes(data)
		if n < 0 {
			return nil, errSegment
		}
		data = data[n:]
		if i < skip {
			continue
		}
		event := &orchestratorv1.TurnEvent{}
		if err := proto.Unmarshal(body, event); err != nil {
			return nil, fmt.Errorf("%w: %w", errSegment, err)
		}
		events = append(events, event)
	}
	return events, nil
}
