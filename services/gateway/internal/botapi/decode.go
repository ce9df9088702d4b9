package botapi

import (
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"
	"time"
	"unicode/utf8"
)

// envelope is the outer object of every answer of the Bot API. Its fields are
// judged one by one: a description of the wrong type must not hide a
// retry_after.
type envelope struct {
	OK          json.RawMessage `json:"ok"`
	Result      json.RawMessage `json:"result"`
	ErrorCode   json.RawMessage `json:"error_code"`
	Description json.RawMessage `json:"description"`
	Parameters  json.RawMessage `json:"parameters"`
}

type parameters struct {
	RetryAfter      json.RawMessage `json:"retry_after"`
	MigrateToChatID json.RawMessage `json:"migrate_to_chat_id"`
}

// decode returns the result of an answer, or why there is none.
func decode(status int, header http.Header, body []byte, now time.Time) (json.RawMessage, *Error) {
	success := status >= 200 && status <= 299
	var env envelope
	err := json.Unmarshal(body, &env)
	ok, isBool := value[bool](env.OK)
	switch {
	case err == nil && isBool && ok && success && env.Result != nil:
		return env.Result, nil
	case err == nil && isBool && !ok:
		if e := apiError(status, header, env, now); e != nil {
			return nil, e
		}
	}
	if !success {
		return nil, &Error{
			Kind: KindHTTP, Status: status, Retry: retryClass(status),
			RetryAfter: retryAfterHeader(header, now), InDoubt: status >= 500,
		}
	}
	e := &Error{Kind: KindInvalidResponseShape, Status: status, Retry: RetryNever, InDoubt: true, detail: "not a Bot API answer"}
	if wrongType := (*json.UnmarshalTypeError)(nil); err != nil && !errors.As(err, &wrongType) {
		e.Kind, e.detail = KindInvalidJSON, "not JSON"
	}
	return nil, e
}

// apiError reads an answer whose "ok" is false; nil when it names no error.
func apiError(status int, header http.Header, env envelope, now time.Time) *Error {
	code, ok := value[int](env.ErrorCode)
	if !ok || code < 300 || code > 999 {
		if code = status; code < 300 {
			return nil
		}
	}
	e := &Error{Kind: KindAPI, Status: status, Code: code, Retry: retryClass(code), InDoubt: code >= 500}
	e.Description, _ = value[string](env.Description)
	params, _ := value[parameters](env.Parameters)
	if seconds, ok := value[float64](params.RetryAfter); ok && seconds > 0 {
		e.RetryAfter = wholeSeconds(seconds)
	} else {
		e.RetryAfter = retryAfterHeader(header, now)
	}
	e.MigrateToChatID, _ = value[int64](params.MigrateToChatID)
	return e
}

// retryAfterHeader reads both forms of RFC 9110, section 10.2.3.
func retryAfterHeader(header http.Header, now time.Time) time.Duration {
	text := header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(text, 10, 63); err == nil {
		return wholeSeconds(float64(seconds))
	}
	if at, err := http.ParseTime(text); err == nil && at.After(now) {
		return min(at.Sub(now), maxRetryAfter)
	}
	return 0
}

func wholeSeconds(seconds float64) time.Duration {
	return time.Duration(math.Ceil(min(seconds, maxRetryAfter.Seconds()))) * time.Second
}

// value decodes one field; false when it is absent, null or of another type.
func value[T any](raw json.RawMessage) (T, bool) {
	var v *T
	if len(raw) == 0 || json.Unmarshal(raw, &v) != nil || v == nil {
		var zero T
		return zero, false
	}
	return *v, true
}

// cut shortens a text to at most n bytes, between two runes.
func cut(text string, n int) string {
	if len(text) <= n {
		return text
	}
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
}

func invalidResult(operation, detail string) *Error {
	return &Error{Operation: operation, Kind: KindInvalidResultShape, Status: http.StatusOK, Retry: RetryNever, InDoubt: true, detail: detail}
}
