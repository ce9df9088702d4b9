package refusal

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func TestALineOfTheDocumentedShape(t *testing.T) {
	var out bytes.Buffer
	status := Print(&out, errors.New(`a "b" <c>`+"\xff\n"))
	want := `{"status":"failed","reason":"invalid-config","error":"a \"b\" <c>` + "\uFFFD\\n" + `"}` + "\n"
	if out.String() != want || status != 2 {
		t.Errorf("status %d, got  %swant %s", status, out.String(), want)
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space") }

func TestALineThatCannotBePrintedIsAFailure(t *testing.T) {
	if status := Print(full{}, errors.New("x")); status != 1 {
		t.Errorf("status %d", status)
	}
}

func TestAProblemIsBoundedText(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ text, want string }{
		"short":         {"unknown argument: x", "unknown argument: x"},
		"no UTF-8":      {"unknown argument: \xff", "unknown argument: \uFFFD"},
		"at the bound":  {strings.Repeat("x", 4096), strings.Repeat("x", 4096)},
		"too long":      {strings.Repeat("x", 5000), strings.Repeat("x", 4096)},
		"within a rune": {strings.Repeat("x", 4095) + "é", strings.Repeat("x", 4095)},
	} {
		if got := said(errors.New(tt.text)); got != tt.want {
			t.Errorf("%s: %q", name, got)
		}
	}
}
