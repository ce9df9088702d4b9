package chaos

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
)

// loseSince takes out of a write-ahead log what was committed beyond a place, as a
// disk does that said it was written; 0: nothing. It returns where the last commit ends
// that is left; 0: none is.
func loseSince(path string, firm int64) (end int64, err error) {
	log, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil // nothing was written
	}
	if err != nil {
		return 0, err
	}
	for _, at := range commits(log) {
		if firm == 0 || at <= firm {
			end = at
		}
	}
	if end == 0 {
		return 0, nil
	}
	return end, os.Truncate(path, end)
}

// commits are the places in a write-ahead log at which a commit ends. What was
// written for an earlier round of the log carries another salt.
// https://sqlite.org/fileformat2.html#walformat
func commits(log []byte) (ends []int64) {
	const header, frameHeader = 32, 24
	if len(log) < header {
		return nil
	}
	page := int(binary.BigEndian.Uint32(log[8:]))
	salt := binary.BigEndian.Uint64(log[16:])
	for at := header; at+frameHeader+page <= len(log); at += frameHeader + page {
		if binary.BigEndian.Uint64(log[at+8:]) != salt {
			break
		}
		if sizeAfterCommit := binary.BigEndian.Uint32(log[at+4:]); sizeAfterCommit != 0 {
			ends = append(ends, int64(at+frameHeader+page))
		}
	}
	return ends
}
