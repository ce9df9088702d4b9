package tracing

import "go.opentelemetry.io/otel/attribute"

// What spans say. There is no attribute for what a person or Codex wrote, nor for
// who or where they are.
const (
	update  = "telecodex.update"
	turn    = "telecodex.turn"
	worker  = "telecodex.worker"
	kind    = "telecodex.kind"
	outcome = "telecodex.outcome"
	cause   = "telecodex.cause"
	attempt = "telecodex.attempt"
	events  = "telecodex.events"
)

// Attributes are what a span says.
type Attributes = []attribute.KeyValue

// InUpdate names the update a span belongs to.
func InUpdate(name string) attribute.KeyValue { return attribute.String(update, name) }

// InTurn names the turn a span belongs to.
func InTurn(id string) attribute.KeyValue { return attribute.String(turn, id) }

// At names a worker, by its id.
func At(workerID string) attribute.KeyValue { return attribute.String(worker, workerID) }

// OfKind says what kind of update or message it is, by a word of a closed list.
func OfKind(word string) attribute.KeyValue { return attribute.String(kind, word) }

// Became says what became of it, by a word of a closed list.
func Became(word string) attribute.KeyValue { return attribute.String(outcome, word) }

// Because says why, by a word of a closed list.
func Because(word string) attribute.KeyValue { return attribute.String(cause, word) }

// Attempt counts attempts, from 1.
func Attempt(n int) attribute.KeyValue { return attribute.Int(attempt, n) }

// Events counts events of a turn.
func Events(n uint64) attribute.KeyValue { return attribute.Int64(events, int64(n)) }
