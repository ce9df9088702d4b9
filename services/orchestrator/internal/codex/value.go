package codex

import (
	"bytes"
	"iter"
	"math"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/structpb"
)

// value is a JSON value that checkSyntax has accepted, as it stands in the line,
// without blanks around it; nil is a value that is not there. Reading one as
// what it is not gives the zero value: a field of the wrong type is a field that
// is missing.
type value []byte

func (v value) is(first byte) bool { return len(v) > 0 && v[0] == first }

func (v value) isObject() bool { return v.is('{') }
func (v value) isArray() bool  { return v.is('[') }
func (v value) isString() bool { return v.is('"') }

// members iterates over an object; names are as in the line, with quotes.
func (v value) members() iter.Seq2[value, value] {
	return func(yield func(name, member value) bool) {
		if !v.isObject() {
			return
		}
		for at := skipSpace(v, 1); v[at] != '}'; {
			end := skipValue(v, at)
			name := v[at:end]
			at = skipSpace(v, end) + 1 // the colon
			at = skipSpace(v, at)
			end = skipValue(v, at)
			if !yield(name, v[at:end]) {
				return
			}
			at = skipSeparator(v, end)
		}
	}
}

// elements iterates over an array.
func (v value) elements() iter.Seq[value] {
	return func(yield func(value) bool) {
		if !v.isArray() {
			return
		}
		for at := skipSpace(v, 1); v[at] != ']'; {
			end := skipValue(v, at)
			if !yield(v[at:end]) {
				return
			}
			at = skipSeparator(v, end)
		}
	}
}

// maxMembers bounds what of an object can be asked for by name; the largest of
// Codex has ten members.
const maxMembers = 32

// object is the beginning of a JSON object, taken apart once because it is asked
// for many names. It lives on the stack.
type object struct {
	names, values [maxMembers]value
	count         int
}

// parse takes an object apart; in what is none, it finds no members.
func (o *object) parse(v value) {
	for name, member := range v.members() {
		if o.count == maxMembers {
			return
		}
		o.names[o.count], o.values[o.count] = name, member
		o.count++
	}
}

// member is the first member of that name.
func (o *object) member(name string) value {
	for i := range o.count {
		if o.names[i].named(name) {
			return o.values[i]
		}
	}
	return nil
}

// member is the first member of that name, of an object that is asked once.
func (v value) member(name string) value {
	for n, member := range v.members() {
		if n.named(name) {
			return member
		}
	}
	return nil
}

// named compares a member's name, which hardly ever is escaped.
func (v value) named(name string) bool {
	if len(v) == len(name)+2 {
		return string(v[1:len(v)-1]) == name
	}
	return bytes.IndexByte(v, '\\') >= 0 && v.text() == name
}

// text is a string, made fit for protobuf and PostgreSQL: what is not UTF-8, NULs
// and halves of surrogate pairs are replaced by U+FFFD.
func (v value) text() string {
	if !v.isString() {
		return ""
	}
	inner := v[1 : len(v)-1]
	if bytes.IndexByte(inner, '\\') < 0 && utf8.Valid(inner) {
		return string(inner)
	}
	return unescape(inner)
}

func unescape(inner []byte) string {
	var b strings.Builder
	b.Grow(len(inner))
	for len(inner) > 0 {
		plain := bytes.IndexByte(inner, '\\')
		if plain < 0 {
			plain = len(inner)
		}
		writeValid(&b, inner[:plain])
		if inner = inner[plain:]; len(inner) > 0 {
			r, n := unescapeOne(inner)
			if r == 0 {
				r = utf8.RuneError
			}
			b.WriteRune(r)
			inner = inner[n:]
		}
	}
	return b.String()
}

func writeValid(b *strings.Builder, plain []byte) {
	if utf8.Valid(plain) {
		b.Write(plain)
		return
	}
	for len(plain) > 0 {
		r, n := utf8.DecodeRune(plain)
		b.WriteRune(r)
		plain = plain[n:]
	}
}

// unescapeOne reads the escape sequence, or the pair of them, that text begins
// with.
func unescapeOne(text []byte) (r rune, length int) {
	switch text[1] {
	case 'b':
		return '\b', 2
	case 'f':
		return '\f', 2
	case 'n':
		return '\n', 2
	case 'r':
		return '\r', 2
	case 't':
		return '\t', 2
	case 'u':
	default:
		return rune(text[1]), 2
	}
	r, _ = hex4(text[2:])
	if !utf16.IsSurrogate(r) {
		return r, 6
	}
	if len(text) >= 12 && text[6] == '\\' && text[7] == 'u' {
		low, _ := hex4(text[8:])
		if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
			return pair, 12
		}
	}
	return utf8.RuneError, 6
}

// integer is a number that fits; 1.0 and 1e3 do not.
func (v value) integer(bits int) (n int64, ok bool) {
	if v.isString() {
		return 0, false
	}
	n, err := strconv.ParseInt(string(v), 10, bits)
	return n, err == nil
}

func (v value) boolean() bool { return string(v) == "true" }

// isNull tells a null, or a value that is not there.
func (v value) isNull() bool { return len(v) == 0 || v[0] == 'n' }

// protobuf converts to a protobuf value. Of equal names the first counts.
func (v value) protobuf() *structpb.Value {
	switch v[0] {
	case '{':
		fields := make(map[string]*structpb.Value)
		for name, member := range v.members() {
			key := name.text()
			if _, known := fields[key]; !known {
				fields[key] = member.protobuf()
			}
		}
		return structpb.NewStructValue(&structpb.Struct{Fields: fields})
	case '[':
		list := &structpb.ListValue{}
		for element := range v.elements() {
			list.Values = append(list.Values, element.protobuf())
		}
		return structpb.NewListValue(list)
	case '"':
		return structpb.NewStringValue(v.text())
	case 't', 'f':
		return structpb.NewBoolValue(v.boolean())
	case 'n':
		return structpb.NewNullValue()
	default:
		return structpb.NewNumberValue(v.number())
	}
}

// number is the nearest finite float: JSON has no infinity to give back.
func (v value) number() float64 {
	f, _ := strconv.ParseFloat(string(v), 64)
	return min(max(f, -math.MaxFloat64), math.MaxFloat64)
}

// skipValue is the end of the value at.
func skipValue(text []byte, at int) int {
	switch text[at] {
	case '"':
		return skipString(text, at)
	case '{', '[':
	default:
		for at < len(text) && !isDelimiter(text[at]) {
			at++
		}
		return at
	}
	for depth := 0; ; {
		switch text[at] {
		case '"':
			at = skipString(text, at)
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return at + 1
			}
		}
		at++
	}
}

// skipString is the end of the string at: behind the first quote that an even
// number of backslashes precedes.
func skipString(text []byte, at int) int {
	for at++; ; at++ {
		at += bytes.IndexByte(text[at:], '"')
		slashes := 0
		for text[at-1-slashes] == '\\' {
			slashes++
		}
		if slashes%2 == 0 {
			return at + 1
		}
	}
}

// skipSeparator goes behind a value to the next one or to the container's end.
func skipSeparator(text []byte, at int) int {
	at = skipSpace(text, at)
	if text[at] == ',' {
		at = skipSpace(text, at+1)
	}
	return at
}

func isDelimiter(b byte) bool {
	return b == ',' || b == '}' || b == ']' || b == ' ' || b == '\t' || b == '\r' || b == '\n'
}
