package smoke

import "bytes"

// window keeps the beginning of what is written, or its end, and lets the writer
// go on.
type window struct {
	limit int
	tail  bool
	text  bytes.Buffer
}

func (w *window) Write(p []byte) (int, error) {
	n := len(p)
	if !w.tail {
		p = p[:min(len(p), w.limit-w.text.Len())]
	}
	w.text.Write(p)
	if over := w.text.Len() - w.limit; over > 0 {
		w.text.Next(over)
	}
	return n, nil
}
