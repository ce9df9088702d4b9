package codexsim

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"time"
)

// LogEntry is one line of the file in FAKE_CODEX_LOG. Every process writes a
// start before its scenario begins and an end when it leaves by itself; one that
// is killed writes no end. A process whose arguments, prompt or thread are
// refused writes nothing.
type LogEntry struct {
	Event        string `json:"event"`         // "start" or "end"
	Run          string `json:"run"`           // UUID of the process; a pid may be that of a namespace
	PID          int    `json:"pid"`           // as the process itself sees it
	Thread       string `json:"thread"`        // UUID
	PromptSHA256 string `json:"prompt_sha256"` // hexadecimal
	Scenario     string `json:"scenario"`
	Dir          string `json:"dir"` // working directory
	UnixNano     int64  `json:"unix_nano"`
	Status       int    `json:"status"` // exit status, of an end
}

// ReadLog reads the entries of a log; a log that does not exist has none.
func ReadLog(path string) ([]LogEntry, error) {
	file, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var entries []LogEntry
	for decoder := json.NewDecoder(file); ; {
		var entry LogEntry
		if err := decoder.Decode(&entry); errors.Is(err, io.EOF) {
			return entries, nil
		} else if err != nil {
			return nil, err
		}
		entries = append(entries, entry)
	}
}

// PromptDigest is LogEntry.PromptSHA256 of a prompt.
func PromptDigest(prompt string) string {
	sum := sha256.Sum256([]byte(prompt))
	return hex.EncodeToString(sum[:])
}

// runLog writes the two entries of one process; with an empty path, nothing.
type runLog struct {
	path  string
	entry LogEntry
}

func openLog(t *turn) (*runLog, error) {
	dir, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	l := &runLog{path: t.getenv("FAKE_CODEX_LOG"), entry: LogEntry{
		Run:          newUUID(time.Now()),
		PID:          os.Getpid(),
		Thread:       t.thread.id,
		PromptSHA256: PromptDigest(t.prompt),
		Scenario:     t.scenario.name,
		Dir:          dir,
	}}
	return l, l.write("start")
}

func (l *runLog) end(status int) error {
	l.entry.Status = status
	return l.write("end")
}

func (l *runLog) write(event string) error {
	if l.path == "" {
		return nil
	}
	l.entry.Event, l.entry.UnixNano = event, time.Now().UnixNano()
	return appendJSON(l.path, l.entry)
}
