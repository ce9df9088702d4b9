// Package render turns answers and outcomes into what a chat shows. It is pure:
// text in, text out. It exists so that no answer is ever cut short or refused:
// Telegram takes 4096 UTF-16 units a message, trims white space at both ends and
// refuses what shows nothing, and every sentence that a person reads about a
// turn stands in one place.
package render

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// MaxUnits is the length of a message in UTF-16 units (Bot API, sendMessage).
	MaxUnits = 4096
	// MaxMessages is how many messages an answer may take; a longer one is a
	// document.
	MaxMessages = 4
	// DocumentName is the name of an answer that is a document.
	DocumentName = "answer.md"

	excerptUnits = 1500
)

// whitespace is what Telegram cuts off at both ends of a message.
const whitespace = " \t\r\n\v\f"

// Rendering is an answer as it is sent: the messages in order, then the
// document.
type Rendering struct {
	// Messages are 1–4 texts of 1–4096 UTF-16 units that show something.
	Messages []string
	// Document is the whole answer, where it is too long for messages; nil
	// otherwise. Messages then is one text that says so.
	Document *Document
}

// Document is a file.
type Document struct {
	Name string
	// Content is the answer, byte for byte.
	Content []byte
}

// Answer renders an answer as plain text. Joined, the messages are the answer
// without the white space at its ends, which Telegram does not show. An answer
// that needs more than four messages, or one with so much white space within that
// a message would be empty, is sent as a document.
func Answer(text string) Rendering {
	shown := strings.Trim(text, whitespace)
	if Blank(shown) {
		return Rendering{Messages: []string{emptyAnswer}}
	}
	if messages, ok := split(shown); ok {
		return Rendering{Messages: messages}
	}
	return Rendering{
		Messages: []string{lead(shown, len(text))},
		Document: &Document{Name: DocumentName, Content: []byte(text)},
	}
}

// lead is the message before a document: the beginning, and where the rest is.
func lead(shown string, size int) string {
	note := fmt.Sprintf("The whole answer (%s) is in the file %s.", fileSize(size), DocumentName)
	excerpt := strings.TrimRight(shown[:cut(shown, excerptUnits)], whitespace)
	if Blank(excerpt) {
		return note
	}
	return excerpt + "\n\n[…]\n\nThis is the beginning of a long answer. " + note
}

func fileSize(bytes int) string {
	switch {
	case bytes >= 1e6:
		return fmt.Sprintf("%.1f MB", float64(bytes)/1e6)
	case bytes >= 1e3:
		return fmt.Sprintf("%d kB", bytes/1e3)
	}
	return fmt.Sprintf("%d bytes", bytes)
}

// split cuts a text into messages; false when they are too many, or one of them
// would show nothing.
func split(text string) (messages []string, ok bool) {
	for text != "" {
		n := cut(text, MaxUnits)
		if len(messages) == MaxMessages || Blank(text[:n]) {
			return nil, false
		}
		messages = append(messages, text[:n])
		text = text[n:]
	}
	return messages, true
}

// ranks of places to cut, better ones higher.
const (
	none = iota
	space
	indented // before a line that begins with white space, which Telegram trims
	line
	paragraph
)

// cut returns the length in bytes of the first message of a text, at most limit
// UTF-16 units and never 0 for a text that is not empty. White space at the cut
// goes to the end of the message, where trimming it shows no difference.
func cut(text string, limit int) int {
	end := prefix(text, limit)
	if end == len(text) {
		return end
	}
	best, at := none, 0
	for p := end; p > end/4; {
		if rank := rankOf(text, p); rank > best {
			best, at = rank, p
			if rank == paragraph {
				break
			}
		}
		if best >= line && p <= end/2 { // a paragraph is not worth half a message
			break
		}
		_, size := utf8.DecodeLastRuneInString(text[:p])
		p -= size
	}
	if best != none {
		return at
	}
	return unbroken(text, end)
}

// prefix returns how many bytes of a text its first limit UTF-16 units take, in
// whole characters.
func prefix(text string, limit int) int {
	units := 0
	for i, r := range text {
		if units += unitsOf(r); units > limit {
			return i
		}
	}
	return len(text)
}

func unitsOf(r rune) int {
	if r > 0xFFFF {
		return 2
	}
	return 1
}

// rankOf judges the place p, 0 < p < len(text). Only the end of a run of white
// space, or of a line, is a place to cut.
func rankOf(text string, p int) int {
	before, after := isSpace(text[p-1]), isSpace(text[p])
	switch {
	case !before || text[p-1] == '\r' && text[p] == '\n':
		return none
	case after && text[p-1] == '\n' && text[p] != '\n' && text[p] != '\r':
		return indented
	case after:
		return none
	}
	switch run := strings.TrimRight(text[:p], whitespace); strings.Count(text[len(run):p], "\n") {
	case 0:
		return space
	case 1:
		if text[p-1] != '\n' {
			return space // within the indentation of a line
		}
		return line
	}
	if text[p-1] != '\n' {
		return space
	}
	return paragraph
}

func isSpace(b byte) bool { return strings.IndexByte(whitespace, b) >= 0 }

// unbroken returns where to cut a text that has no good place before end: not
// within CRLF, nor between a character and the marks that belong to it.
func unbroken(text string, end int) int {
	p := end
	for range 16 {
		next, _ := utf8.DecodeRuneInString(text[p:])
		last, size := utf8.DecodeLastRuneInString(text[:p])
		if size == p || !(last == '\r' && next == '\n' || joins(next) || last == zeroWidthJoiner) {
			return p
		}
		p -= size
	}
	return end
}

const zeroWidthJoiner = '\u200D'

// joins says that a character is shown as a part of the one before.
func joins(r rune) bool {
	return r == zeroWidthJoiner || unicode.In(r, unicode.Mn, unicode.Me) || r >= 0x1F3FB && r <= 0x1F3FF
}

// Blank says that a text shows nothing, so that Telegram would refuse it.
func Blank(text string) bool {
	for _, r := range text {
		switch r {
		case '\u115F', '\u1160', '\u2800', '\u3164', '\uFFA0', '\uFFFC': // blanks that Unicode counts as letters or symbols
			continue
		}
		if !unicode.IsSpace(r) && !unicode.In(r, unicode.Cc, unicode.Cf, unicode.Mn) {
			return false
		}
	}
	return true
}
