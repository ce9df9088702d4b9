package store

import (
	"bytes"
	"database/sql"
	"fmt"
)

// partSize bounds what the database is given of a document at a time: it never
// returns the memory of the largest value it has held, and copies a row, with all
// of its values, whenever the row changes.
const partSize = 256 << 10

// noDocument is the size stored of a message that has none; a document may be
// empty.
const noDocument = -1

// size is what the outbox says of a document, which may be nil.
func (d *Document) size() int {
	if d == nil {
		return noDocument
	}
	return len(d.Content)
}

// keepDocument stores a message's document in parts.
func (q *tx) keepDocument(id int64, d *Document) error {
	if d == nil {
		return nil
	}
	part, rest := 0, d.Content
	for len(rest) > 0 {
		n := min(len(rest), partSize)
		if err := q.exec(`INSERT INTO outbox_parts (bot_id, outbox_id, part, content) VALUES ($1, $2, $3, $4)`,
			q.bot, id, part, rest[:n]); err != nil {
			return err
		}
		part, rest = part+1, rest[n:]
	}
	return nil
}

// loadDocument reads a document of a known size.
func (q *tx) loadDocument(id int64, size int) ([]byte, error) {
	content := bytes.NewBuffer(make([]byte, 0, size))
	_, err := collect(q, func(row scanner) (struct{}, error) {
		var part sql.RawBytes
		err := row.Scan(&part)
		content.Write(part)
		return struct{}{}, err
	}, `SELECT content FROM outbox_parts WHERE bot_id = $1 AND outbox_id = $2 ORDER BY part`, q.bot, id)
	if err == nil && content.Len() != size {
		err = fmt.Errorf("the document of message %d has %d bytes of %d", id, content.Len(), size)
	}
	return content.Bytes(), err
}

// dropDocument removes a document that nobody is sent any more.
func (q *tx) dropDocument(id int64) error {
	return q.exec(`DELETE FROM outbox_parts WHERE bot_id = $1 AND outbox_id = $2`, q.bot, id)
}
