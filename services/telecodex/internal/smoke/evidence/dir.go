package evidence

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Dir is where one run keeps its evidence. Everything in it is readable by its
// owner alone.
type Dir struct{ path string }

// DefaultBase is where the directories of a day's runs are made.
func DefaultBase(name string, now time.Time) string {
	return filepath.Join("artifacts", "test-logs", name+"-"+now.UTC().Format("20060102"))
}

// Create makes the directory of a run, <base>/<name>-<UTC>, which no earlier run
// has used.
func Create(base, name string, now time.Time) (Dir, error) {
	if err := os.MkdirAll(base, 0o700); err != nil {
		return Dir{}, err
	}
	id := name + "-" + now.UTC().Format("20060102T150405Z")
	for n := 1; ; n++ {
		path := filepath.Join(base, id)
		if n > 1 { // another run within the same second
			path = fmt.Sprintf("%s-%d", path, n)
		}
		if err := os.Mkdir(path, 0o700); !errors.Is(err, fs.ErrExist) {
			return Dir{path}, err
		}
	}
}

// Path is the directory.
func (d Dir) Path() string { return d.path }

// ErrLeak says that a redacted report still showed something secret, and was not
// kept.
var ErrLeak = errors.New("the redacted report still shows something secret; it was not kept")

// errNoReport is redacted evidence of a program that printed something else.
var errNoReport = errors.New("the program did not print one JSON object: there is nothing to redact")

// Keep writes what a cycle printed, as it is, and redacted. It returns the path
// of the redacted file, empty when there is none.
func (d Dir) Keep(id string, stdout []byte, report map[string]any, r *Redactor) (string, error) {
	if err := d.write(id+".json", stdout); err != nil {
		return "", err
	}
	if report == nil {
		return "", errNoReport
	}
	text, err := r.Report(report)
	if err != nil {
		return "", err
	}
	if !json.Valid(text) || r.Leaks(text) {
		return "", ErrLeak
	}
	name := id + ".redacted.json"
	if err := d.write(name, text); err != nil {
		return "", err
	}
	return filepath.Join(d.path, name), nil
}

// SetAside renames what was kept of a try, so that the next one can have its
// name. It returns the new path of the redacted file, empty when there is none.
func (d Dir) SetAside(id string, try int) (redacted string, err error) {
	aside := fmt.Sprintf("%s.try-%d", id, try)
	for _, suffix := range []string{".json", ".redacted.json"} {
		to := filepath.Join(d.path, aside+suffix)
		switch err := os.Rename(filepath.Join(d.path, id+suffix), to); {
		case errors.Is(err, fs.ErrNotExist):
			redacted = ""
		case err != nil:
			return "", err
		default:
			redacted = to
		}
	}
	return redacted, nil
}

// errNotKept is redacted evidence that is no longer what was written.
var errNotKept = errors.New("the redacted report is no JSON object any more")

// Check says why redacted evidence that was kept cannot be shown: it is gone, cannot
// be read, or is no JSON object; nil when it can.
func Check(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var report map[string]any
	if json.Unmarshal(text, &report) != nil || report == nil {
		return fmt.Errorf("%s: %w", path, errNotKept)
	}
	return nil
}

// KeepDocument writes a document that is redacted already.
func (d Dir) KeepDocument(name, text string) error { return d.write(name, []byte(text)) }

// write writes a file of its owner alone, and not over another one.
func (d Dir) write(name string, text []byte) error {
	file, err := os.OpenFile(filepath.Join(d.path, name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	return errors.Join(err, file.Close())
}
