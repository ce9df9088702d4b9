package codex

import (
	"bytes"
	"errors"
	"io"
)

const (
	// maxLine bounds a line, without its line end. Codex's longest known line,
	// the output of a command with every byte escaped, is 6.3 MB.
	maxLine = 16 << 20
	// baseBuffer is what one read asks for: a pipe's capacity.
	baseBuffer = 64 << 10
)

// errNoLine says that no whole line has been read yet.
var errNoLine = errors.New("no line in the buffer")

// line is one line of output.
type line struct {
	number uint64 // 1-based
	size   uint64 // bytes, without the line end
	text   []byte // valid until the next call; nil for a line over maxLine
}

// lineReader cuts a stream into lines. Its buffer is as large as the longest
// line it holds and at most maxLine; of a longer line only the length is kept.
type lineReader struct {
	source  io.Reader
	buffer  []byte
	start   int // of the line being gathered
	end     int // of what was read
	scanned int // up to here there is no line end
	number  uint64
	skipped uint64 // bytes of the current line that were thrown away
	last    byte   // last byte thrown away
	err     error  // of source
}

func newLineReader(source io.Reader) *lineReader {
	return &lineReader{source: source, buffer: make([]byte, baseBuffer)}
}

// next returns the next line. Without wait it reads nothing and returns
// errNoLine where it would have to. At the end, a last line without line end
// comes before the source's error.
func (r *lineReader) next(wait bool) (line, error) {
	for {
		if i := bytes.IndexByte(r.buffer[r.scanned:r.end], '\n'); i >= 0 {
			stop := r.scanned + i
			l := r.cut(stop)
			r.start, r.scanned = stop+1, stop+1
			return l, nil
		}
		r.scanned = r.end
		if r.err != nil {
			if r.start == r.end && r.skipped == 0 {
				return line{}, r.err
			}
			l := r.cut(r.end)
			r.start = r.end
			return l, nil
		}
		if !wait {
			return line{}, errNoLine
		}
		r.fill()
	}
}

// cut takes the line that ends at stop.
func (r *lineReader) cut(stop int) line {
	text := r.buffer[r.start:stop]
	size := r.skipped + uint64(len(text))
	if r.skipped > 0 && len(text) == 0 {
		text = []byte{r.last}
	}
	if bytes.HasSuffix(text, []byte("\r")) {
		text, size = text[:len(text)-1], size-1
	}
	if r.skipped > 0 || size > maxLine {
		text = nil
	}
	r.number++
	r.skipped = 0
	return line{number: r.number, size: size, text: text}
}

// fill reads once, into a buffer that has room.
func (r *lineReader) fill() {
	r.makeRoom()
	// A reader that keeps returning nothing is broken, see io.Reader.
	for range 100 {
		n, err := r.source.Read(r.buffer[r.end:])
		r.end += n
		if r.err = err; n > 0 || err != nil {
			return
		}
	}
	r.err = io.ErrNoProgress
}

func (r *lineReader) makeRoom() {
	if r.skipped > 0 || r.tooLong() {
		r.skip()
	}
	if r.start == r.end {
		r.start, r.end, r.scanned = 0, 0, 0
	}
	held, room := r.end-r.start, len(r.buffer)-r.end
	switch {
	case held < baseBuffer && len(r.buffer) > baseBuffer:
		r.move(make([]byte, baseBuffer)) // the long line is over: give its memory back
	case r.start > 0 && room < baseBuffer/2:
		r.move(r.buffer)
	case room == 0:
		r.move(make([]byte, min(2*len(r.buffer), maxLine+2)))
	}
}

// tooLong tells whether what is held cannot become a line any more: there may be
// one byte over the bound, if it is the CR of a CRLF.
func (r *lineReader) tooLong() bool {
	held := r.end - r.start
	return held > maxLine+1 || held == maxLine+1 && r.buffer[r.end-1] != '\r'
}

// skip throws away what is held and counts it.
func (r *lineReader) skip() {
	if r.end > r.start {
		r.skipped += uint64(r.end - r.start)
		r.last = r.buffer[r.end-1]
	}
	r.start, r.scanned = r.end, r.end
}

func (r *lineReader) move(to []byte) {
	n := copy(to, r.buffer[r.start:r.end])
	r.buffer, r.start, r.end, r.scanned = to, 0, n, n
}
