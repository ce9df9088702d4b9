package server

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func FuzzPageToken(f *testing.F) {
	for _, seed := range []string{"", "AA", "Ag", "!", "gICAgICAgICAAQ", pageToken(1 << 62)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, token string) {
		row, err := parsePageToken(token)
		if err != nil {
			return
		}
		if row < 0 {
			t.Errorf("row %d of %q", row, token)
		}
		if again, err := parsePageToken(pageToken(row)); err != nil || again != row {
			t.Errorf("row %d came back as %d, %v", row, again, err)
		}
	})
}
