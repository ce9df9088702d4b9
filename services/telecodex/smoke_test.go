package telecodex

import (
	"slices"
	"testing"
	"time"

	"telecodex.dev/services/internal/command"
)

func TestSmokeOptions(t *testing.T) {
	all := []string{"S1", "S2", "S3", "S4"}
	for _, tt := range []struct {
		name      string
		given     command.Values
		env       map[string]string
		live      bool
		scenarios []string
		wait      time.Duration
	}{
		{"simulated without a token", nil, nil, false, all, 120 * time.Second},
		{"live with one", nil, map[string]string{"CHANNEL_TOKEN": "1:x"}, true, all, 120 * time.Second},
		{"live with one in a file", nil, map[string]string{"CHANNEL_TOKEN_FILE": "token.txt"}, true, all, 120 * time.Second},
		{"simulated all the same", command.Values{"--simulated": "true"}, map[string]string{"CHANNEL_TOKEN": "1:x"}, false, all, 120 * time.Second},
		{"live in any case", command.Values{"--live": "true", "--wait-s": "5"}, nil, true, all, 5 * time.Second},
		{"some", command.Values{"--scenario": "s4, S1"}, nil, false, []string{"S4", "S1"}, 120 * time.Second},
		{"all", command.Values{"--scenario": "ALL"}, nil, false, all, 120 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o, err := smokeOptions(tt.given, func(name string) (string, bool) { v, set := tt.env[name]; return v, set })
			if err != nil || o.Live != tt.live || !slices.Equal(o.Scenarios, tt.scenarios) || o.Wait != tt.wait || o.Limit != 15*time.Second {
				t.Errorf("%+v, %v", o, err)
			}
		})
	}
	for _, given := range []command.Values{{"--simulated": "true", "--live": "true"}, {"--scenario": "S5"}, {"--scenario": "S1,"},
		{"--scenario": ""}, {"--scenario": " "}, {"--wait-s": "0"}, {"--wait-s": "soon"}, {"--limit-s": "2"}, {"--limit-s": "86401"}} {
		if _, err := smokeOptions(given, func(string) (string, bool) { return "", false }); err == nil {
			t.Errorf("%v is taken", given)
		}
	}
}
