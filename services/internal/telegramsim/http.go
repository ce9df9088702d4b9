package telegramsim

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxRequest is above the 50 MB that a bot may upload.
const maxRequest = 64 << 20

// failure is an answer whose "ok" is false.
type failure struct {
	code        int
	description string
	retryAfter  int // seconds
	migrateTo   int64
}

func badRequest(description string) *failure {
	return &failure{code: http.StatusBadRequest, description: "Bad Request: " + description}
}

// restart is what Telegram says when it closes a call of its own accord.
func restart() *failure {
	return &failure{code: http.StatusInternalServerError, description: "Internal Server Error: restart"}
}

// response is an answer before it is written.
type response struct {
	status      int
	contentType string
	body        []byte
	retryAfter  int
}

// ServeHTTP answers /bot<token>/<method> and /control/.
func (s *Sim) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/control/") {
		s.control.ServeHTTP(w, r)
		return
	}
	rest, isBot := strings.CutPrefix(r.URL.Path, "/bot")
	slash := strings.LastIndexByte(rest, '/')
	switch {
	case !isBot || slash < 0:
		write(w, refusal(&failure{code: 404, description: "Not Found"}))
		return
	case rest[:slash] != s.token:
		write(w, refusal(&failure{code: 401, description: "Unauthorized"}))
		return
	}
	name := rest[slash+1:]
	run, known := s.methods[strings.ToLower(name)]
	if !known {
		write(w, refusal(&failure{code: 404, description: "Not Found: method not found"}))
		return
	}
	a, err := readArgs(w, r)
	if err != nil {
		write(w, refusal(badRequest("can't parse the request: "+err.Error())))
		return
	}
	s.answer(w, r, name, run, a)
}

// answer records the call, and carries it out, fails it on purpose, or both.
func (s *Sim) answer(w http.ResponseWriter, r *http.Request, name string, run method, a args) {
	call, fault := s.record(name, a)
	if fault != nil && fault.DelayMS > 0 && !s.pause(r.Context(), time.Duration(fault.DelayMS)*time.Millisecond) {
		write(w, refusal(restart()))
		return
	}
	if fault != nil {
		a.replay = fault.Replay
	}
	var resp response
	if fault == nil || !fault.fails() || fault.Execute {
		result, failure := run(r.Context(), a)
		if failure != nil {
			resp = refusal(failure)
		} else {
			resp = success(result)
		}
	}
	if fault != nil && fault.fails() {
		resp = fault.response(resp)
	}
	s.settle(call, resp.status)
	switch {
	case fault != nil && fault.Reset:
		sever(w, nil)
	case fault != nil && fault.TruncateBody:
		half := resp.body[:len(resp.body)/2]
		sever(w, fmt.Appendf(nil, "HTTP/1.1 %d OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", resp.status, resp.contentType, len(resp.body), half))
	default:
		write(w, resp)
	}
}

// pause waits, and says false when the caller hung up or the simulator closed.
func (s *Sim) pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
	case <-s.closing:
	}
	return false
}

func success(result any) response {
	body, err := json.Marshal(struct {
		OK     bool `json:"ok"`
		Result any  `json:"result"`
	}{true, result})
	if err != nil {
		return refusal(&failure{code: 500, description: "Internal Server Error"})
	}
	return response{status: http.StatusOK, contentType: "application/json", body: body}
}

func refusal(f *failure) response {
	type parameters struct {
		RetryAfter int   `json:"retry_after,omitempty"`
		MigrateTo  int64 `json:"migrate_to_chat_id,omitempty"`
	}
	answer := struct {
		OK          bool        `json:"ok"`
		Code        int         `json:"error_code"`
		Description string      `json:"description"`
		Parameters  *parameters `json:"parameters,omitempty"`
	}{Code: f.code, Description: f.description}
	if f.retryAfter != 0 || f.migrateTo != 0 {
		answer.Parameters = &parameters{f.retryAfter, f.migrateTo}
	}
	// Strings and numbers alone: this cannot fail.
	body, _ := json.Marshal(answer)
	return response{status: f.code, contentType: "application/json", body: body, retryAfter: f.retryAfter}
}

func write(w http.ResponseWriter, resp response) {
	w.Header().Set("Content-Type", resp.contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(resp.body)))
	if resp.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(resp.retryAfter))
	}
	w.WriteHeader(resp.status)
	w.Write(resp.body) // a caller that hung up is no concern of the simulator
}

// sever writes raw bytes to the connection and closes it; with none, it resets
// the connection.
func sever(w http.ResponseWriter, text []byte) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	defer conn.Close()
	if text != nil {
		conn.Write(text)
		return
	}
	if lingerer, ok := conn.(interface{ SetLinger(int) error }); ok {
		lingerer.SetLinger(0)
	}
}

// args are the parameters of a call. As in Telegram, JSON values become strings:
// what is no string keeps its JSON text.
type args struct {
	values map[string]string
	files  map[string]file
	replay int // see Fault
}

type file struct {
	name    string
	content []byte
}

func readArgs(w http.ResponseWriter, r *http.Request) (args, error) {
	a := args{values: map[string]string{}, files: map[string]file{}}
	r.Body = http.MaxBytesReader(w, r.Body, maxRequest)
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	var err error
	switch kind {
	case "application/json":
		err = a.readJSON(r.Body)
	case "multipart/form-data":
		err = a.readMultipart(r)
	default:
		err = r.ParseForm()
	}
	if err != nil {
		return args{}, err
	}
	for name, values := range r.URL.Query() {
		a.values[name] = values[0]
	}
	for name, values := range r.PostForm {
		a.values[name] = values[0]
	}
	return a, nil
}

func (a args) readJSON(body io.Reader) error {
	data, err := io.ReadAll(body)
	if err != nil || len(bytes.TrimSpace(data)) == 0 {
		return err
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(data, &object); err != nil {
		return fmt.Errorf("the body is not a JSON object")
	}
	for name, raw := range object {
		if string(raw) == "null" {
			continue
		}
		var text string
		if json.Unmarshal(raw, &text) != nil {
			text = string(raw)
		}
		a.values[name] = text
	}
	return nil
}

func (a args) readMultipart(r *http.Request) error {
	if err := r.ParseMultipartForm(maxRequest); err != nil {
		return err
	}
	for name, headers := range r.MultipartForm.File {
		part, err := headers[0].Open()
		if err != nil {
			return err
		}
		content, err := io.ReadAll(part)
		part.Close()
		if err != nil {
			return err
		}
		a.files[name] = file{headers[0].Filename, content}
	}
	return nil
}

// integer reads a whole number; 0 when it is absent or none.
func (a args) integer(name string) int64 {
	n, err := strconv.ParseInt(strings.TrimSpace(a.values[name]), 10, 64)
	if err != nil {
		return 0
	}
	return n
}
