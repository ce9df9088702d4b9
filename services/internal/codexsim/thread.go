package codexsim

import (
	"bufio"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// thread is a conversation: its id, and the prompts it had before this one.
type thread struct {
	id      string
	earlier []string
}

// remembered is one line of a thread's file.
type remembered struct {
	Prompt string `json:"prompt"`
}

// openThread resumes the thread that is asked for or starts a new one, and
// remembers the prompt, as Codex does even for a turn that is killed later.
func (t *turn) openThread() error {
	dir := sessionsDir(t.getenv)
	t.thread = thread{id: newUUID(time.Now())}
	// Codex takes anything that is not a UUID for a name it does not know, and
	// starts a new thread without a word.
	if t.inv.resume && isUUID(t.inv.sessionID) && !t.scenario.forgetful {
		earlier, err := readThread(dir, t.inv.sessionID)
		if errors.Is(err, fs.ErrNotExist) {
			return &refusal{exitFailed, "Error: thread/resume: thread/resume failed: no rollout found for thread id " + t.inv.sessionID + " (code -32600)"}
		}
		if err != nil {
			return fmt.Errorf("fakecodex: %w", err)
		}
		t.thread = thread{id: t.inv.sessionID, earlier: earlier}
	}
	if err := remember(dir, t.thread.id, t.prompt); err != nil {
		return fmt.Errorf("fakecodex: %w", err)
	}
	return nil
}

// sessionsDir is where threads are kept; empty when there is no home at all, and
// then nothing is remembered.
func sessionsDir(getenv func(string) string) string {
	if home := getenv("CODEX_HOME"); home != "" {
		return filepath.Join(home, "sessions")
	}
	for _, name := range []string{"HOME", "USERPROFILE"} {
		if home := getenv(name); home != "" {
			return filepath.Join(home, ".codex", "sessions")
		}
	}
	return ""
}

func readThread(dir, id string) (prompts []string, err error) {
	if dir == "" {
		return nil, fs.ErrNotExist
	}
	file, err := os.Open(rollout(dir, id))
	if err != nil {
		return nil, err
	}
	defer file.Close()
	decoder := json.NewDecoder(bufio.NewReader(file))
	for decoder.More() {
		var line remembered
		if err := decoder.Decode(&line); err != nil {
			return nil, err
		}
		prompts = append(prompts, line.Prompt)
	}
	return prompts, nil
}

func remember(dir, id, prompt string) error {
	if dir == "" {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return appendJSON(rollout(dir, id), remembered{Prompt: prompt})
}

// rollout is a thread's file. Codex's own also has the time of its beginning in its
// name, and lies in a directory of the day.
func rollout(dir, id string) string { return filepath.Join(dir, "rollout-"+id+".jsonl") }

// appendJSON appends one line in one write, so that lines of several processes
// do not mix.
func appendJSON(path string, value any) error {
	line, err := json.Marshal(value)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(append(line, '\n'))
	return errors.Join(err, file.Close())
}

// newUUID makes a UUID of version 7 (RFC 9562), as Codex's thread ids are.
func newUUID(now time.Time) string {
	var id [16]byte
	_, _ = rand.Read(id[6:]) // never fails
	var stamp [8]byte
	binary.BigEndian.PutUint64(stamp[:], uint64(now.UnixMilli()))
	copy(id[:6], stamp[2:])
	id[6] = id[6]&0x0f | 0x70
	id[8] = id[8]&0x3f | 0x80
	text := hex.EncodeToString(id[:])
	return text[:8] + "-" + text[8:12] + "-" + text[12:16] + "-" + text[16:20] + "-" + text[20:]
}

// isUUID reports whether s has the form 8-4-4-4-12 of hexadecimal digits.
func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i, c := range []byte(s) {
		if i == 8 || i == 13 || i == 18 || i == 23 {
			if c != '-' {
				return false
			}
			continue
		}
		if !('0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F') {
			return false
		}
	}
	return true
}
