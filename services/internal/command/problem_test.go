package command_test

import (
	"errors"
	"strings"
	"testing"

	"telecodex.dev/services/internal/command"
)

func TestAProblemIsBoundedText(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ text, want string }{
		"short":         {"unknown argument: x", "unknown argument: x"},
		"no UTF-8":      {"unknown argument: \xff", "unknown argument: \uFFFD"},
		"at the bound":  {strings.Repeat("x", 4096), strings.Repeat("x", 4096)},
		"too long":      {strings.Repeat("x", 5000), strings.Repeat("x", 4096)},
		"within a rune": {strings.Repeat("x", 4095) + "é", strings.Repeat("x", 4095)},
	} {
		if got := command.Problem(errors.New(tt.text)); got != tt.want {
			t.Errorf("%s: %q", name, got)
		}
	}
}
