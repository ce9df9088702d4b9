package codex

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

// corpusOf repeats a line; %s in it is filled up to size bytes.
func corpusOf(line string, size, lines int) []byte {
	filled := fmt.Sprintf(line, strings.Repeat("x", size-len(line)+len("%s")))
	return bytes.Repeat([]byte(filled+"\n"), lines)
}

func BenchmarkDecoder(b *testing.B) {
	const lines = 20_000
	for _, bench := range []struct {
		name string
		line string
		size int
	}{
		{"agent_message", `{"type":"item.completed","item":{"id":"item_1","type":"agent_message","text":"%s"}}`, 256},
		{"command", `{"type":"item.completed","item":{"id":"item_1","type":"command_execution","command":"/bin/bash -lc 'ls'","aggregated_output":"%s","exit_code":0,"status":"completed"}}`, 256},
		{"escaped_command", `{"type":"item.completed","item":{"id":"item_1","type":"command_execution","command":"/bin/bash -lc 'ls'","aggregated_output":"a\nb\n\"c\"\n%s","exit_code":0,"status":"completed"}}`, 256},
		{"mcp_tool_call", `{"type":"item.completed","item":{"id":"item_0","type":"mcp_tool_call","server":"mock","tool":"ping","arguments":{"text":"hey"},"result":{"content":[{"type":"text","text":"%s"}],"structured_content":{"ok":true}},"error":null,"status":"completed"}}`, 300},
		{"not_json", `oops {"type":"item.completed","item":{"id":"item_1","type":"agent_message","text":"%s"}}`, 256},
	} {
		b.Run(bench.name, func(b *testing.B) {
			corpus := corpusOf(bench.line, bench.size, lines)
			b.SetBytes(int64(len(corpus)))
			b.ReportAllocs()
			for b.Loop() {
				d := NewDecoder(bytes.NewReader(corpus), time.Now)
				events := 0
				for {
					batch, err := d.Next()
					events += len(batch)
					if errors.Is(err, io.EOF) {
						break
					}
				}
				if events != lines {
					b.Fatalf("%d events", events)
				}
			}
			b.ReportMetric(float64(lines)*float64(b.N)/b.Elapsed().Seconds(), "lines/s")
		})
	}
}
