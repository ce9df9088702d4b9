// Package evidence keeps what a smoke run observed: the program's own report for
// the operator, a redacted one to share, and the table of the protocol. Redaction
// goes by structure, field by field, since ids are numbers like others and a
// pattern cannot know a name; the protocol's patterns follow as a second pass.
package evidence

import (
	"bytes"
	"cmp"
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// What stands in the place of what was there.
const (
	redacted       = "<REDACTED>"
	redactedChat   = "<REDACTED_CHAT_ID>"
	redactedUser   = "<REDACTED_USER_ID>"
	redactedNumber = "<REDACTED_NUMERIC_ID>"
)

// Secrets are what a run knows must not be seen.
type Secrets struct {
	Tokens, Texts []string
	Chats, Users  []string // ids
}

// Redactor redacts what is shared of a run. The zero value knows no secret by
// value, and redacts by structure and by pattern alone.
type Redactor struct{ secrets Secrets }

// Know adds to the secrets.
func (r *Redactor) Know(s Secrets) {
	r.secrets.Tokens = append(r.secrets.Tokens, s.Tokens...)
	for _, text := range s.Texts {
		if text = strings.TrimSpace(text); len(text) >= shortest {
			r.secrets.Texts = append(r.secrets.Texts, text)
		}
	}
	r.secrets.Chats = append(r.secrets.Chats, s.Chats...)
	r.secrets.Users = append(r.secrets.Users, s.Users...)
	for _, token := range s.Tokens {
		// The part behind the bot's id is the secret one, and may stand alone.
		if _, key, ok := strings.Cut(token, ":"); ok {
			r.secrets.Tokens = append(r.secrets.Tokens, key)
		}
	}
}

var (
	tokens     = regexp.MustCompile(`\b[0-9]+:[A-Za-z0-9_-]{10,}`)
	sessions   = regexp.MustCompile(`\btelegram:-?[0-9]+(:[0-9]+)?`)
	refusals   = regexp.MustCompile(`(not allowlisted \()[^)]*`)
	numericIDs = regexp.MustCompile(`[0-9]{8,}`)
	botPaths   = regexp.MustCompile(`(bot)[A-Za-z0-9:_-]+`)
	closed     = regexp.MustCompile(`^[A-Za-z0-9._ -]{0,64}$`)
)

// Text redacts free text: known secrets, then what looks like one.
func (r *Redactor) Text(text string) string { return patterns(r.known(text)) }

func (r *Redactor) known(text string) string {
	text = tokens.ReplaceAllString(text, redacted)
	for _, secret := range longestFirst(r.secrets.Tokens, r.secrets.Texts) {
		text = strings.ReplaceAll(text, secret, redacted)
	}
	text = sessions.ReplaceAllString(text, "telegram:"+redactedChat)
	text = refusals.ReplaceAllString(text, "${1}"+redactedChat)
	for _, id := range longestFirst(r.secrets.Chats) {
		text = replaceNumber(text, id, redactedChat)
	}
	for _, id := range longestFirst(r.secrets.Users) {
		text = replaceNumber(text, id, redactedUser)
	}
	return text
}

// shortest is how long a text must be to be recognized: a shorter one says
// nothing of a person, and occurs in every sentence.
const shortest = 4

// longestFirst keeps a secret that is part of another from spoiling it.
func longestFirst(lists ...[]string) []string {
	all := slices.DeleteFunc(slices.Concat(lists...), func(s string) bool { return s == "" })
	slices.SortStableFunc(all, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	return all
}

// replaceNumber replaces a number where it stands alone, not within a longer one.
func replaceNumber(text, number, placeholder string) string {
	alone := regexp.MustCompile(`(^|[^0-9A-Za-z])` + regexp.QuoteMeta(number) + `($|[^0-9A-Za-z])`)
	for range 2 { // neighbours share what stands between them
		text = alone.ReplaceAllString(text, "${1}"+placeholder+"${2}")
	}
	return text
}

// patterns is the protocol's own redaction (its sed command), word for word.
func patterns(text string) string {
	return botPaths.ReplaceAllString(numericIDs.ReplaceAllString(text, redactedNumber), "${1}"+redacted)
}

// keptWords are the keys whose texts come from closed lists. A program that is not
// as it should be may have put anything there: known secrets are looked for here, too.
var keptWords = []string{"status", "code", "source", "category", "layer", "operation", "contract", "version", "emit_state",
	"diagnostic_id", "queue_depth", "retry_total", "worker_restart_total", "update_id"}

// keptKeys are the other keys of a report. What is not needed to prove the
// outcome is left out.
var keptKeys = []string{"fetched_count", "sent_count", "acked_count", "ack_skipped_count", "error_count", "errors",
	"error_details", "dropped_count", "dropped_updates", "heartbeat_emit_failures", "telemetry", "counters", "timers_ms",
	"heartbeat", "placeholders", "fetch_total", "send_total", "drop_total", "cycle_total", "fetch", "send", "context",
	"message", "retryable", "reason", "session_id", "chat_id", "user_id"}

// freeTexts are the keys whose texts are sentences.
var freeTexts = []string{"message", "reason", "errors"}

// Report redacts a cycle report and returns it as indented JSON with sorted keys.
func (r *Redactor) Report(report map[string]any) ([]byte, error) {
	r.Know(idsOf(report))
	var text strings.Builder
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(r.value("", report)); err != nil {
		return nil, err
	}
	return []byte(patterns(text.String())), nil
}

// idsOf are the ids that a report itself names, which its texts may repeat.
func idsOf(value any) (found Secrets) {
	switch value := value.(type) {
	case map[string]any:
		for key, inner := range value {
			id := plain(inner)
			switch key {
			case "chat_id":
				found.addID(&found.Chats, id)
			case "user_id":
				found.addID(&found.Users, id)
			case "session_id":
				parts := strings.Split(id, ":")
				found.addID(&found.Chats, parts[min(1, len(parts)-1)])
			}
			found = joined(found, idsOf(inner))
		}
	case []any:
		for _, inner := range value {
			found = joined(found, idsOf(inner))
		}
	}
	return found
}

// addID adds an id to one of the lists; a name that stands in its place, such as
// @channel, is a text.
func (s *Secrets) addID(list *[]string, id string) {
	if _, err := strconv.ParseInt(id, 10, 64); err != nil {
		list = &s.Texts
	}
	*list = append(*list, id)
}

func joined(a, b Secrets) Secrets {
	return Secrets{Chats: append(a.Chats, b.Chats...), Users: append(a.Users, b.Users...), Texts: append(a.Texts, b.Texts...)}
}

// plain is an id as text, whatever it was in JSON.
func plain(value any) string {
	switch value := value.(type) {
	case string:
		return value
	case json.Number:
		return value.String()
	case float64:
		return strconv.FormatFloat(value, 'f', -1, 64)
	}
	return ""
}

// value redacts what stands under a key.
func (r *Redactor) value(key string, value any) any {
	switch value := value.(type) {
	case map[string]any:
		object := make(map[string]any, len(value))
		for name, inner := range value {
			if slices.Contains(keptWords, name) || slices.Contains(keptKeys, name) {
				object[name] = r.value(name, inner)
			}
		}
		return object
	case []any:
		list := make([]any, len(value))
		for i, inner := range value {
			list[i] = r.value(key, inner)
		}
		return list
	}
	return r.scalar(key, value)
}

func (r *Redactor) scalar(key string, value any) any {
	placeholders := map[string]string{"chat_id": redactedChat, "user_id": redactedUser, "session_id": "telegram:" + redactedChat}
	if placeholder, secret := placeholders[key]; secret {
		if value == "" || value == nil {
			return value
		}
		return placeholder
	}
	if number, ok := value.(json.Number); ok && numericIDs.MatchString(number.String()) {
		return redactedNumber // in quotes, or the patterns would spoil the JSON
	}
	text, isText := value.(string)
	switch {
	case !isText:
		return value
	case slices.Contains(keptWords, key) && closed.MatchString(text), slices.Contains(freeTexts, key):
		return r.known(text)
	}
	return redacted
}

// Leaks says whether a redacted report still holds a secret that the redactor
// knows.
func (r *Redactor) Leaks(text []byte) bool {
	for _, token := range longestFirst(r.secrets.Tokens) {
		if bytes.Contains(text, []byte(token)) {
			return true
		}
	}
	var report any
	return json.Unmarshal(text, &report) != nil || r.leaks(report)
}

// leaks looks at texts, whatever their key: a number may equal an id by chance.
func (r *Redactor) leaks(value any) bool {
	switch value := value.(type) {
	case map[string]any:
		for _, inner := range value {
			if r.leaks(inner) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(value, r.leaks)
	case string:
		return r.known(value) != value
	}
	return false
}
