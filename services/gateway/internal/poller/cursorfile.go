package poller

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"unicode/utf8"

	"telecodex.dev/services/internal/diskfile"
)

// CursorFileError says that the cursor file cannot be read or written.
type CursorFileError struct {
	Op   string // "load" or "save"
	Path string
	Err  error
}

func (e *CursorFileError) Error() string {
	return fmt.Sprintf("cursor state %s failed: %s: %v", e.Op, e.Path, e.Err)
}

// Unwrap returns the cause.
func (e *CursorFileError) Unwrap() error { return e.Err }

// maxCursorFile is far beyond any cursor file.
const maxCursorFile = 64 << 10

// ReadCursor reads the next offset from a cursor file; nil: the file is missing
// or names none. Errors are *CursorFileError.
func ReadCursor(path string) (*int64, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		var cause *fs.PathError
		if errors.As(err, &cause) {
			err = cause.Err // the path is named already
		}
		return nil, &CursorFileError{"load", path, err}
	}
	floor, err := parseCursor(text)
	if err != nil {
		return nil, &CursorFileError{"load", path, err}
	}
	return floor, nil
}

func parseCursor(text []byte) (*int64, error) {
	switch {
	case len(text) > maxCursorFile:
		return nil, errors.New("the file is too large")
	case !utf8.Valid(text):
		return nil, errors.New("the file is not UTF-8")
	case !json.Valid(text):
		return nil, errors.New("the file is not JSON")
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(text, &fields) != nil || fields == nil {
		return nil, errors.New("the file is not a JSON object")
	}
	value := bytes.TrimSpace(fields["committed_floor"])
	if len(value) == 0 || string(value) == "null" {
		return nil, nil
	}
	floor, err := strconv.ParseInt(string(value), 10, 64)
	if err != nil {
		return nil, errors.New("committed_floor is not an integer")
	}
	if floor < 0 {
		return nil, errors.New("committed_floor is negative")
	}
	return &floor, nil
}

// WriteCursor replaces the cursor file: after a crash at any point it is the old
// or the new one. Missing directories are made with mode 0700. Errors are
// *CursorFileError.
func WriteCursor(path string, next int64) error {
	if err := diskfile.Replace(path, fmt.Appendf(nil, `{"committed_floor": %d, "version": 1}`, next)); err != nil {
		return &CursorFileError{"save", path, err}
	}
	return nil
}
