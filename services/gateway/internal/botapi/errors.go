package botapi

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"time"
)

// Kind says how a call failed.
type Kind string

// The kinds of failure.
const (
	// KindHTTP is an answer that is not the Bot API's: a proxy's page, a
	// redirect, an unreadable error.
	KindHTTP Kind = "http-error"
	// KindNetwork is a connection that could not be made or broke, or a call
	// that its caller cancelled.
	KindNetwork Kind = "network-error"
	// KindTimeout is an answer that did not come in time.
	KindTimeout Kind = "timeout"
	// KindInvalidJSON is a successful answer that is not JSON.
	KindInvalidJSON Kind = "invalid-json"
	// KindInvalidResponseShape is JSON that is not the Bot API's envelope.
	KindInvalidResponseShape Kind = "invalid-response-shape"
	// KindInvalidResultShape is an envelope whose result is not what the method
	// returns.
	KindInvalidResultShape Kind = "invalid-result-shape"
	// KindAPI is the Bot API saying no: "ok" is false.
	KindAPI Kind = "api-error"
)

// RetryClass says whether trying again can help.
type RetryClass string

// The retry classes.
const (
	// RetryTransient: soon.
	RetryTransient RetryClass = "transient"
	// RetryRateLimit: after RetryAfter.
	RetryRateLimit RetryClass = "rate-limit"
	// RetryNever: the same request fails again.
	RetryNever RetryClass = "non-retryable"
)

// maxRetryAfter bounds what a server may ask for.
const maxRetryAfter = 24 * time.Hour

// Error is every failure of a Client's method. Its text never holds the token,
// a URL or a part of a body other than Telegram's description.
type Error struct {
	// Operation is the Bot API method, such as "sendMessage".
	Operation string
	// Kind says how the call failed.
	Kind Kind
	// Status is the HTTP status; 0 when no answer came.
	Status int
	// Code is the Bot API's error_code, for KindAPI; 0 otherwise.
	Code int
	// Retry says whether trying again can help.
	Retry RetryClass
	// RetryAfter is how long the server asks to wait, from
	// parameters.retry_after, else from the Retry-After header; 0 when it does
	// not say; at most 24 h.
	RetryAfter time.Duration
	// MigrateToChatID is the supergroup that a group became; 0 otherwise.
	MigrateToChatID int64
	// Description is Telegram's, for KindAPI, at most 512 bytes; empty otherwise.
	Description string
	// InDoubt says that the request may have been carried out. It is false only
	// when it surely was not.
	InDoubt bool

	detail string
	cause  error
}

// Error says the operation, the kind, the status and the reason.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "telegram %s: %s", e.Operation, e.Kind)
	switch {
	case e.Code != 0:
		fmt.Fprintf(&b, " %d", e.Code)
	case e.Status != 0:
		fmt.Fprintf(&b, " (status %d)", e.Status)
	}
	if reason := e.Description + e.detail; reason != "" {
		b.WriteString(": " + reason)
	}
	return b.String()
}

// Unwrap returns the caller's context error when that is why the call ended.
func (e *Error) Unwrap() error { return e.cause }

// Conflict says that another poller or a webhook holds the bot's updates.
func (e *Error) Conflict() bool { return e.Kind == KindAPI && e.Code == 409 }

// ThreadNotFound says that the topic of a send is gone; the same send without a
// topic can succeed.
func (e *Error) ThreadNotFound() bool {
	return e.Kind == KindAPI && e.Code == 400 && strings.Contains(strings.ToLower(e.Description), "message thread not found")
}

func (e *Error) notModified() bool {
	return e.Kind == KindAPI && e.Code == 400 && strings.Contains(strings.ToLower(e.Description), "message is not modified")
}

func retryClass(code int) RetryClass {
	switch {
	case code == 429:
		return RetryRateLimit
	case code >= 500:
		return RetryTransient
	}
	return RetryNever
}

// transportError makes an Error of a failed round trip or body read. ctx is the
// caller's, without the client's own deadline.
func transportError(ctx context.Context, err error, inDoubt bool) *Error {
	e := &Error{Kind: KindNetwork, Retry: RetryTransient, InDoubt: inDoubt}
	var timeout net.Error
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		e.Retry, e.detail, e.cause = RetryNever, "cancelled", context.Canceled
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		e.Kind, e.detail, e.cause = KindTimeout, "no answer in time", ctx.Err()
	default:
		e.detail = reason(err)
	}
	return e
}

// reason names the cause of a network failure from a closed list. What the
// libraries say is not repeated: url.Error and the errors about redirects and
// proxies quote URLs.
func reason(err error) string {
	var (
		dns   *net.DNSError
		cert  *tls.CertificateVerificationError
		op    *net.OpError
		errno syscall.Errno
	)
	switch {
	case errors.As(err, &dns):
		return "the host name cannot be resolved"
	case errors.As(err, &cert):
		return "the server's certificate is not trusted"
	case errors.As(err, &op) && op.Op == "proxyconnect":
		return "the proxy cannot be reached"
	case errors.As(err, &errno):
		return errno.Error()
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the connection was closed early"
	}
	return "the request failed"
}
