package codex

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
)

// Bounds of the envelope, in bytes.
const (
	maxText     = 64 << 10
	maxMessage  = 4096
	maxPayload  = 64 << 10
	maxItemID   = 128
	maxStatus   = 64
	maxTypeName = 128
)

const truncated = "…(truncated)"

// cut is the longest prefix of whole runes within limit bytes.
func cut(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	for limit > 0 && !utf8.RuneStart(text[limit]) {
		limit--
	}
	return text[:limit]
}

// message makes one bounded line of a text.
func message(text string) string {
	// Blanks become spaces before the cut, so only what can be shown is looked at.
	line := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, cut(text, 2*maxMessage))
	if line = strings.TrimSpace(line); len(line) <= maxMessage {
		return line
	}
	return cut(line, maxMessage-len(truncated)) + truncated
}

// countParts is how many parts of whole runes and at most maxText bytes a text
// has; an empty text is one part.
func countParts(text string) uint32 {
	parts := uint32(1)
	for len(text) > maxText {
		text = text[len(cut(text, maxText)):]
		parts++
	}
	return parts
}

// payloads are the fields of an item; those that are too large are dropped.
type payloads struct {
	object
	dropped []*orchestratorv1.Dropped
}

// keeps tells whether a payload of that size stays.
func (p *payloads) keeps(field string, size int) bool {
	if size <= maxPayload {
		return true
	}
	p.dropped = append(p.dropped, &orchestratorv1.Dropped{Field: field, Reason: "oversize", Bytes: uint64(size)})
	return false
}

// text reads a string.
func (p *payloads) text(field string) string { return p.bounded(field, p.member(field)) }

func (p *payloads) bounded(field string, v value) string {
	if text := v.text(); p.keeps(field, len(text)) {
		return text
	}
	return ""
}

// array is an array, nil when its JSON is too large.
func (p *payloads) array(field string) value {
	if v := p.member(field); p.keeps(field, len(v)) {
		return v
	}
	return nil
}

// value reads any JSON as a protobuf value; nil when it is null or missing.
func (p *payloads) value(field string) *structpb.Value {
	v := p.member(field)
	if v.isNull() || !p.keeps(field, len(v)) {
		return nil
	}
	made := v.protobuf()
	// In protobuf a value is up to six times as large as its JSON.
	if len(v) > maxPayload/6 && !p.keeps(field, proto.Size(made)) {
		return nil
	}
	return made
}
