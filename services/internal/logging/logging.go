// Package logging builds the one logger of a process: JSON on a writer, with a
// level by name. A logger is always handed down as an argument; there is no
// global one, so what a component may say is visible where it is built.
package logging

import (
	"fmt"
	"io"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// New returns a logger that writes one JSON object a line to w. level is one of
// debug, info, warn, error; anything else is an error that names the four.
func New(w io.Writer, level string) (*zap.Logger, error) {
	var l zapcore.Level
	switch level {
	case "debug", "info", "warn", "error":
		if err := l.UnmarshalText([]byte(level)); err != nil {
			return nil, fmt.Errorf("log level: %w", err)
		}
	default:
		return nil, fmt.Errorf("log level must be debug, info, warn or error")
	}
	enc := zap.NewProductionEncoderConfig()
	enc.TimeKey = "time"
	enc.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	enc.EncodeDuration = zapcore.StringDurationEncoder
	core := zapcore.NewCore(zapcore.NewJSONEncoder(enc), zapcore.Lock(zapcore.AddSync(w)), l)
	return zap.New(core), nil
}
