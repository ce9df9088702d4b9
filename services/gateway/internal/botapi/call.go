package botapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync/atomic"
	"time"
)

const (
	// maxPollBody holds 100 updates of the largest size many times over.
	maxPollBody = 32 << 20
	maxCallBody = 1 << 20
)

// call is one try of one method.
type call struct {
	operation string
	body      payload
	timeout   time.Duration
	client    *http.Client
	maxBody   int64
}

// send calls a method with a JSON body, once.
func (c *Client) send(ctx context.Context, operation string, params any) (json.RawMessage, error) {
	k, err := c.jsonCall(operation, params)
	if err != nil {
		return nil, err
	}
	result, failure := c.try(ctx, k)
	if failure != nil {
		return nil, failure
	}
	return result, nil
}

// read calls a method that changes nothing, again when that can help.
func (c *Client) read(ctx context.Context, k call) (json.RawMessage, error) {
	for attempt := 0; ; attempt++ {
		result, failure := c.try(ctx, k)
		if failure == nil {
			return result, nil
		}
		if failure.Retry == RetryNever || attempt == len(c.retries) || ctx.Err() != nil {
			return nil, failure
		}
		wait := c.retries[attempt]
		if failure.Retry == RetryRateLimit && failure.RetryAfter > 0 {
			wait = failure.RetryAfter
		}
		c.onRetry(k.operation)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			failure := transportError(ctx, ctx.Err(), false)
			failure.Operation = k.operation
			return nil, failure
		}
	}
}

func (c *Client) jsonCall(operation string, params any) (call, error) {
	data, err := marshal(params)
	if err != nil {
		// What json says could quote a parameter.
		return call{}, &Error{Operation: operation, Kind: KindInvalidJSON, Retry: RetryNever, detail: "the parameters cannot be encoded"}
	}
	return call{operation, bytesPayload("application/json", data), c.requestTimeout, c.calls, maxCallBody}, nil
}

// marshal leaves <, > and & as they are: escaped, an answer full of markup would
// be several times its size.
func marshal(params any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(params); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func (c *Client) try(ctx context.Context, k call) (json.RawMessage, *Error) {
	result, failure := c.roundTrip(ctx, k)
	if failure != nil {
		failure.Operation = k.operation
		failure.Description = cut(c.scrub(failure.Description), 512)
	}
	return result, failure
}

func (c *Client) roundTrip(parent context.Context, k call) (json.RawMessage, *Error) {
	if err := parent.Err(); err != nil {
		return nil, transportError(parent, err, false)
	}
	ctx, cancel := context.WithTimeout(parent, k.timeout)
	defer cancel()
	var written progress
	req, err := c.request(httptrace.WithClientTrace(ctx, written.trace()), k.operation, k.body)
	if err != nil {
		return nil, &Error{Kind: KindNetwork, Retry: RetryNever, detail: err.Error()}
	}
	if err := c.permit(parent); err != nil {
		return nil, &Error{Kind: KindNetwork, Retry: RetryTransient, detail: "the call was not permitted: it is not certain who serves the bot"}
	}
	resp, err := k.client.Do(req)
	if err != nil {
		var quoting *url.Error
		if errors.As(err, &quoting) {
			err = quoting.Err
		}
		return nil, transportError(parent, err, written.mayHaveArrived())
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, k.maxBody+1))
	switch {
	case resp.StatusCode < 200 || resp.StatusCode > 299:
		// An error stays one however much of its page arrived.
	case err != nil:
		failure := transportError(parent, err, true)
		failure.Status = resp.StatusCode
		return nil, failure
	case int64(len(body)) > k.maxBody:
		return nil, &Error{Kind: KindInvalidResponseShape, Status: resp.StatusCode, Retry: RetryNever, InDoubt: true, detail: "the answer is too long"}
	}
	return decode(resp.StatusCode, resp.Header, body, time.Now())
}

// progress notes how far a request got onto the wire. The transport may call
// the trace after the round trip has returned, so it is atomic.
type progress struct{ state atomic.Int32 }

const (
	untraced int32 = iota // a transport that does not report how far it came
	unsent
	connected
	broken
	sent
)

func (p *progress) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		// Called again when the transport repeats a request of which it is sure
		// that nothing was written.
		GetConn: func(string) { p.state.Store(unsent) },
		GotConn: func(httptrace.GotConnInfo) { p.state.Store(connected) },
		WroteRequest: func(info httptrace.WroteRequestInfo) {
			if info.Err != nil {
				p.state.Store(broken)
				return
			}
			p.state.Store(sent)
		},
	}
}

// mayHaveArrived is true from the moment there was a connection to write to,
// unless the write is known to have failed: a request cut short is never
// carried out.
func (p *progress) mayHaveArrived() bool {
	state := p.state.Load()
	return state != unsent && state != broken
}
