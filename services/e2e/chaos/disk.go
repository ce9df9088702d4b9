package chaos

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
)

// lostCommits is how many of the last commits a disk forgets that is not durable.
const lostCommits = 10

// loseTail takes the last commits out of a write-ahead log, as a disk does that
// said they were written: at most half of them, so that there is still a database.
func loseTail(path string) error {
	log, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // nothing was written
	}
	if err != nil {
		return err
	}
	ends := commits(log)
	if len(ends) == 0 {
		return nil
	}
	return os.Truncate(path, ends[max(len(ends)-1-lostCommits, len(ends)/2)])
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
