package telegramsim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// controlHandler serves the control API: JSON in, JSON out, 400 with
// {"error": …} for what it does not understand.
//
//	POST   /control/inject          Incoming → Injected
//	POST   /control/callback        Callback → Injected
//	POST   /control/raw             {"update": …, "verbatim": bool} → Injected
//	GET    /control/messages        ?chat_id= → {"messages": []Message}
//	GET    /control/messages/wait   ?chat_id=&count=&timeout_ms= → {"messages", "met"}
//	GET    /control/calls           ?method=&chat_id=&after= → {"calls": []Call}
//	GET    /control/calls/wait      the same, &count=&timeout_ms= → {"calls", "met"}
//	GET    /control/actions         ?chat_id= → {"actions": []Action}
//	GET    /control/state           → State
//	GET    /control/state/wait      ?confirmed=&timeout_ms= → {"state", "met"}: nothing
//	                                pending and confirmed_offset ≥ confirmed
//	POST   /control/fail            Fault → {}
//	DELETE /control/fail            → {}
//	POST   /control/limits          Limits → {}
//	POST   /control/next_update_id  {"id": n} → {}
//	POST   /control/webhook         {"url": "…"} → {}
//	POST   /control/delete_topic    {"chat_id": n, "topic_id": n} → {}
//
// A wait lasts 10 s at most where timeout_ms is not given.
func (s *Sim) controlHandler() http.Handler {
	mux := http.NewServeMux()
	post(mux, "inject", func(in Incoming) (any, error) {
		if in.ChatID == 0 {
			return nil, errors.New("chat_id is missing")
		}
		return s.Inject(in), nil
	})
	post(mux, "callback", func(in Callback) (any, error) {
		if in.ChatID == 0 {
			return nil, errors.New("chat_id is missing")
		}
		return s.InjectCallback(in), nil
	})
	post(mux, "raw", func(in struct {
		Update   json.RawMessage `json:"update"`
		Verbatim bool            `json:"verbatim"`
	}) (any, error) {
		return s.InjectRaw(in.Update, in.Verbatim)
	})
	post(mux, "fail", func(f Fault) (any, error) { s.Fail(f); return struct{}{}, nil })
	post(mux, "limits", func(l Limits) (any, error) { s.SetLimits(l); return struct{}{}, nil })
	post(mux, "next_update_id", func(in struct {
		ID int64 `json:"id"`
	}) (any, error) {
		return struct{}{}, s.SetNextUpdateID(in.ID)
	})
	post(mux, "webhook", func(in struct {
		URL string `json:"url"`
	}) (any, error) {
		s.SetWebhook(in.URL)
		return struct{}{}, nil
	})
	post(mux, "delete_topic", func(in struct {
		ChatID  int64 `json:"chat_id"`
		TopicID int64 `json:"topic_id"`
	}) (any, error) {
		s.DeleteTopic(in.ChatID, in.TopicID)
		return struct{}{}, nil
	})
	mux.HandleFunc("DELETE /control/fail", func(w http.ResponseWriter, _ *http.Request) {
		s.ClearFaults()
		reply(w, struct{}{}, nil)
	})
	s.controlQueries(mux)
	mux.HandleFunc("/control/", func(w http.ResponseWriter, _ *http.Request) { reply(w, nil, errors.New("no such control")) })
	return mux
}

func (s *Sim) controlQueries(mux *http.ServeMux) {
	get(mux, "messages", func(_ context.Context, q query) (any, error) {
		return map[string]any{"messages": s.Messages(q.number("chat_id"))}, nil
	})
	get(mux, "messages/wait", func(ctx context.Context, q query) (any, error) {
		found, err := s.WaitForMessages(ctx, q.number("chat_id"), int(max(q.number("count"), 1)))
		return map[string]any{"messages": found, "met": err == nil}, nil
	})
	get(mux, "calls", func(_ context.Context, q query) (any, error) {
		return map[string]any{"calls": s.Calls(q.filter())}, nil
	})
	get(mux, "calls/wait", func(ctx context.Context, q query) (any, error) {
		found, err := s.WaitForCalls(ctx, q.filter(), int(max(q.number("count"), 1)))
		return map[string]any{"calls": found, "met": err == nil}, nil
	})
	get(mux, "actions", func(_ context.Context, q query) (any, error) {
		return map[string]any{"actions": s.Actions(q.number("chat_id"))}, nil
	})
	get(mux, "state", func(context.Context, query) (any, error) { return s.State(), nil })
	get(mux, "state/wait", func(ctx context.Context, q query) (any, error) {
		confirmed := q.number("confirmed")
		state, err := s.WaitForState(ctx, func(st State) bool { return st.Pending == 0 && st.ConfirmedOffset >= confirmed })
		return map[string]any{"state": state, "met": err == nil}, nil
	})
}

func post[T any](mux *http.ServeMux, path string, do func(T) (any, error)) {
	mux.HandleFunc("POST /control/"+path, func(w http.ResponseWriter, r *http.Request) {
		var in T
		dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequest))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&in); err != nil {
			reply(w, nil, err)
			return
		}
		out, err := do(in)
		reply(w, out, err)
	})
}

func get(mux *http.ServeMux, path string, do func(context.Context, query) (any, error)) {
	mux.HandleFunc("GET /control/"+path, func(w http.ResponseWriter, r *http.Request) {
		q := query{values: map[string]string{}}
		for name, values := range r.URL.Query() {
			q.values[name] = values[0]
		}
		timeout := 10 * time.Second
		if ms := q.number("timeout_ms"); ms > 0 {
			timeout = time.Duration(ms) * time.Millisecond
		}
		for _, name := range []string{"chat_id", "count", "after", "confirmed", "timeout_ms"} {
			if _, err := strconv.ParseInt(q.values[name], 10, 64); q.values[name] != "" && err != nil {
				reply(w, nil, fmt.Errorf("%s is not a whole number", name))
				return
			}
		}
		ctx, cancel := context.WithTimeout(r.Context(), timeout)
		defer cancel()
		out, err := do(ctx, q)
		reply(w, out, err)
	})
}

// query is the query of a control call.
type query args

func (q query) number(name string) int64 { return args(q).integer(name) }

func (q query) filter() CallFilter {
	return CallFilter{Method: q.values["method"], ChatID: q.number("chat_id"), After: int(q.number("after"))}
}

func reply(w http.ResponseWriter, out any, err error) {
	status := http.StatusOK
	if err != nil {
		status, out = http.StatusBadRequest, map[string]string{"error": err.Error()}
	}
	body, err := json.Marshal(out)
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(`{"error":"the answer cannot be encoded"}`)
	}
	write(w, response{status: status, contentType: "application/json", body: body})
}
