// Package responses is a model provider for tests: an HTTP server on this machine that speaks as much of the OpenAI Responses
// API as the Codex CLI needs, and answers from a script instead of a model. It exists so that the real Codex can be run
// through a whole turn (answers, shell commands, patches, plans, failures, silence) without an account, a network or luck.
//
// A Book maps what the person says to what the model does. Nothing is remembered between requests: how far a script has come
// is read from the conversation that Codex sends along each time, so threads may run side by side, be resumed and be killed.
package responses

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Key is the credential the provider insists on: requests that do not bear it are refused with 401.
const Key = "sk-scripted-provider"

// maxRequest bounds a request's body in bytes; a conversation that holds a 5 MB answer fits several times over.
const maxRequest = 64 << 20

// closeGrace is how long Close waits for the answers that it broke off.
const closeGrace = 2 * time.Second

// Book is what the model does, by the prompt it is asked. The prompt is compared without surrounding white space; one that is
// not in the book is answered with the failure code "invalid_prompt".
type Book map[string][]Step

// Provider is a running scripted provider. Its methods may be called from any goroutine.
type Provider struct {
	book     Book
	listener net.Listener
	server   *http.Server
	hangUp   context.CancelFunc // ends every answer
	served   chan struct{}

	ids      atomic.Uint64 // the last id handed out to a response, an item or a call
	inFlight atomic.Int64

	mu   sync.Mutex
	seen []Conversation
}

// Start serves book on a free loopback port until Close.
func Start(book Book) (*Provider, error) { return StartAt("127.0.0.1", book) }

// StartAt serves on a free port of one of this machine's addresses, for a Codex that does not see its loopback.
func StartAt(host string, book Book) (*Provider, error) {
	listener, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return nil, fmt.Errorf("scripted provider: %w", err)
	}
	open, hangUp := context.WithCancel(context.Background())
	p := &Provider{book: book, listener: listener, hangUp: hangUp, served: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/responses", p.respond)
	p.server = &http.Server{Handler: mux, BaseContext: func(net.Listener) context.Context { return open }}
	go func() {
		defer close(p.served)
		_ = p.server.Serve(listener) // always ErrServerClosed: Close is the only way out of a healthy listener
	}()
	return p, nil
}

// Close hangs up on whoever is connected, and returns when the server and its answers have stopped.
func (p *Provider) Close() error {
	p.hangUp()
	ctx, cancel := context.WithTimeout(context.Background(), closeGrace)
	defer cancel()
	_ = p.server.Shutdown(ctx) // waits for the answers; connections that never carried one outlast it, hence Close
	err := p.server.Close()
	<-p.served
	return err
}

// URL is the base URL for Codex's model_providers.<name>.base_url.
func (p *Provider) URL() string { return "http://" + p.listener.Addr().String() + "/v1" }

// InFlight is the number of requests that are being answered, those that will never be among them.
func (p *Provider) InFlight() int { return int(p.inFlight.Load()) }

// Requests returns the conversations seen so far, one for each authorised request, oldest first.
func (p *Provider) Requests() []Conversation {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]Conversation(nil), p.seen...)
}

func (p *Provider) respond(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "Bearer "+Key {
		refuse(w, http.StatusUnauthorized, "invalid_api_key", "Incorrect API key provided.")
		return
	}
	conversation, err := readConversation(http.MaxBytesReader(w, r.Body, maxRequest))
	if err != nil {
		refuse(w, http.StatusBadRequest, "invalid_request", err.Error())
		return
	}
	p.mu.Lock()
	p.seen = append(p.seen, conversation)
	p.mu.Unlock()
	p.inFlight.Add(1)
	defer p.inFlight.Add(-1)

	out := &reply{
		ctx: r.Context(), w: w, flush: http.NewResponseController(w).Flush,
		conversation: conversation, nextID: func() uint64 { return p.ids.Add(1) }, usage: DefaultUsage,
	}
	if err := play(out, p.book); err != nil {
		panic(http.ErrAbortHandler) // net/http's way to break a connection off instead of ending the stream tidily
	}
}

// play sends the part of the script that is due: everything after the calls that were already made, up to and including the
// next call.
func play(out *reply, book Book) error {
	steps, known := book[out.conversation.Prompt()]
	if !known {
		steps = []Step{Fail("invalid_prompt", "no script for this prompt")}
	}
	made := out.conversation.Calls
	if session, running := out.conversation.runningCommand(); running && waits(steps, made) {
		if err := out.call(pollCall(session)); err != nil {
			return err
		}
		return out.complete()
	}
	for _, step := range steps {
		if made > 0 {
			if step.calls {
				made--
			}
			continue
		}
		if err := step.play(out); err != nil || step.ends {
			return err
		}
		if step.calls {
			break
		}
	}
	return out.complete()
}

// waits says whether the last of the calls made so far is one whose end the script waits for.
func waits(steps []Step, made int) bool {
	for _, step := range steps {
		if !step.calls {
			continue
		}
		if made--; made == 0 {
			return step.waits
		}
	}
	return false
}

// refuse answers with an error in the form of the API, instead of a stream.
func refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{ // a client that has gone needs no answer
		"error": map[string]any{"message": message, "type": "invalid_request_error", "code": code},
	})
}
