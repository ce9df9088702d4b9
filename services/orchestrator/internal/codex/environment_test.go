package codex

import (
	"errors"
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"
)

func TestEnvironmentIsBuiltFromNothing(t *testing.T) {
	t.Setenv("CHANNEL_TOKEN", "secret")
	got := Environment(Base{Path: "/bin", Home: "/clean", Lang: "C.UTF-8", CodexHome: "/codex"}, nil, nil)
	want := []string{"CODEX_HOME=/codex", "HOME=/clean", "LANG=C.UTF-8", "PATH=/bin"}
	if runtime.GOOS == "windows" {
		want = append(want, "USERPROFILE=/clean")
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestLaterLayersWin(t *testing.T) {
	got := Environment(Base{Path: "/bin"}, map[string]string{"PATH": "/worker", "KEY": "worker"}, map[string]string{"KEY": "request"})
	if want := []string{"KEY=request", "PATH=/worker"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestWorkerEnvironment(t *testing.T) {
	lookup := func(name string) (string, bool) { return "from the worker", name == "PROVIDER_KEY" }
	got, err := ParseWorkerEnv(" PROVIDER_KEY , A=1=2,, MISSING,B=", lookup)
	want := map[string]string{"PROVIDER_KEY": "from the worker", "A": "1=2", "B": ""}
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := ParseWorkerEnv("1A=x", lookup); err == nil || strings.Contains(err.Error(), "=x") {
		t.Errorf("got %v", err)
	}
}

func TestRequestEnvironmentIsJudged(t *testing.T) {
	for name, env := range map[string]map[string]string{
		"HOME":                  {"HOME": "/"},
		"CODEX_HOME":            {"CODEX_HOME": "/"},
		"LD_PRELOAD":            {"LD_PRELOAD": "/x.so"},
		"DYLD_INSERT_LIBRARIES": {"DYLD_INSERT_LIBRARIES": "/x"},
		"home":                  {"home": "/"},
		"1A":                    {"1A": "x"},
		`A=B`:                   {"A=B": "x"},
		"NUL":                   {"NUL": "a\x00b"},
		`env: over 65536 bytes`: {"A": strings.Repeat("x", 40_000), "B": strings.Repeat("x", 40_000)},
		`env: invalid name`:     {"": "x"},
	} {
		err := CheckRequestEnv(env)
		var refused *EnvError
		if !errors.As(err, &refused) || !strings.Contains(err.Error(), name) {
			t.Errorf("%q: got %v", name, err)
		}
	}
	if err := CheckRequestEnv(map[string]string{"A": "1", "_b2": "", "HOMEPAGE": "x"}); err != nil {
		t.Error(err)
	}
}
