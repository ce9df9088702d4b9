package sqldb

import (
	"errors"
	"io"
	"os"
)

// ExtendLog makes the write-ahead log of the SQLite file at path at least so many
// bytes long. A commit that overwrites bytes of the log is sooner on the disk than
// one that makes it longer, which changes the file system's own records; the log is
// overwritten in any case from its first checkpoint on. To be called when the
// file is open and nobody writes: what is beyond the log's valid end means nothing
// to SQLite, as after every checkpoint.
func ExtendLog(path string, size int64) (err error) {
	log, err := os.OpenFile(path+"-wal", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	end, err := log.Seek(0, io.SeekEnd)
	if err != nil || end >= size {
		return err
	}
	// Written, not only allocated: that would leave the work to the commits.
	for zeros := make([]byte, 64<<10); end < size; end += int64(len(zeros)) {
		zeros = zeros[:min(int64(len(zeros)), size-end)]
		if _, err := log.Write(zeros); err != nil {
			return err
		}
	}
	return log.Sync()
}
