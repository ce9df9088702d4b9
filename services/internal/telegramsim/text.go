package telegramsim

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// checkText judges a text and its entities as tdlib's fix_formatted_text does.
// The text is measured before it is trimmed, which is stricter than Telegram.
func checkText(a args, text, entities string, limit int) *failure {
	switch {
	case !utf8.ValidString(text):
		return badRequest("text must be encoded in UTF-8")
	case a.values["parse_mode"] != "":
		return badRequest("the simulator parses no text: send entities")
	case blank(text):
		return badRequest("message text is empty")
	case units(text) > limit && limit == maxCaption:
		return badRequest("message caption is too long")
	case units(text) > limit:
		return badRequest("message is too long")
	}
	if list, given := a.values[entities]; given {
		return checkEntities(text, list)
	}
	return nil
}

// checkEntities judges the first 100 entities; Telegram ignores the others.
func checkEntities(text, list string) *failure {
	var entities []struct {
		Type   string `json:"type"`
		Offset int    `json:"offset"`
		Length int    `json:"length"`
	}
	if json.Unmarshal([]byte(list), &entities) != nil {
		return badRequest("can't parse entities: expected an array of entities")
	}
	starts, end := boundaries(text), units(text)
	for _, e := range entities[:min(len(entities), 100)] {
		switch stop := e.Offset + e.Length; {
		case e.Type == "":
			return badRequest("can't parse entities: an entity has no type")
		case e.Offset < 0 || e.Length <= 0:
			return badRequest("an entity has an incorrect offset or length")
		case e.Offset >= end:
			return badRequest(fmt.Sprintf("entity begins after the end of the text at UTF-16 offset %d", e.Offset))
		case stop > end:
			return badRequest(fmt.Sprintf("entity beginning at UTF-16 offset %d ends after the end of the text at UTF-16 offset %d", e.Offset, stop))
		case !starts[e.Offset]:
			return badRequest(fmt.Sprintf("entity begins in a middle of a UTF-16 symbol at UTF-16 offset %d", e.Offset))
		case stop < end && !starts[stop]:
			return badRequest(fmt.Sprintf("entity beginning at UTF-16 offset %d ends in a middle of a UTF-16 symbol", e.Offset))
		}
	}
	return nil
}

// units is the length of a text in UTF-16 units.
func units(text string) int {
	n := 0
	for _, r := range text {
		n++
		if r > 0xFFFF {
			n++
		}
	}
	return n
}

// boundaries are the UTF-16 offsets at which a character begins.
func boundaries(text string) map[int]bool {
	starts, n := map[int]bool{}, 0
	for _, r := range text {
		starts[n] = true
		n++
		if r > 0xFFFF {
			n++
		}
	}
	return starts
}

// blank says that a text shows nothing.
func blank(text string) bool {
	return strings.IndexFunc(text, func(r rune) bool { return !invisible(r) }) < 0
}

func invisible(r rune) bool {
	switch r {
	case '\u115F', '\u1160', '\u2800', '\u3164', '\uFFA0', '\uFFFC':
		return true
	}
	return unicode.IsSpace(r) || unicode.In(r, unicode.Cc, unicode.Cf)
}

// trim cuts the white space off that Telegram does not show.
func trim(text string) string { return strings.Trim(text, " \t\r\n\v\f\x00") }
