package codex

import (
	"fmt"
	"maps"
	"regexp"
	"runtime"
	"slices"
	"strings"
)

// maxEnv bounds a request's environment, names and values together, in bytes.
const maxEnv = 64 << 10

// Base is what every Codex's environment begins with; what is empty is left out.
type Base struct {
	Path      string // PATH
	Home      string // HOME: a clean directory, not the worker's own
	Lang      string // LANG
	CodexHome string // CODEX_HOME
	// System are variables without which nothing runs on this system, as
	// NAME=value, see SystemVariables.
	System []string
}

// SystemVariables copies what Windows programs cannot do without; elsewhere there
// is nothing of the kind.
func SystemVariables(lookup func(name string) (string, bool)) []string {
	if runtime.GOOS != "windows" {
		return nil
	}
	var words []string
	for _, name := range []string{"SYSTEMROOT", "SYSTEMDRIVE", "WINDIR", "COMSPEC", "PATHEXT", "TEMP", "TMP"} {
		if v, ok := lookup(name); ok {
			words = append(words, name+"="+v)
		}
	}
	return words
}

// EnvError says what is wrong with a variable. Its text never holds a value.
type EnvError struct {
	Name   string // at most 128 bytes of it; empty when it is about all of them
	Reason string
}

func (e *EnvError) Error() string {
	if e.Name == "" {
		return "env: " + e.Reason
	}
	return fmt.Sprintf("env[%q]: %s", e.Name, e.Reason)
}

var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// ParseWorkerEnv reads ORCHESTRATOR_CODEX_ENV: comma-separated NAME, copied from
// the worker's environment where it is set there, or NAME=value. Its error is an
// *EnvError.
func ParseWorkerEnv(list string, lookup func(name string) (string, bool)) (map[string]string, error) {
	env := make(map[string]string)
	for word := range strings.SplitSeq(list, ",") {
		name, given, ok := strings.Cut(strings.TrimSpace(word), "=")
		if name == "" && !ok {
			continue
		}
		if err := checkVariable(name, given); err != nil {
			return nil, err
		}
		if !ok {
			if given, ok = lookup(name); !ok {
				continue
			}
		}
		env[name] = given
	}
	return env, nil
}

// CheckRequestEnv judges a request's environment. Its error is an *EnvError.
func CheckRequestEnv(env map[string]string) error {
	size := 0
	for _, name := range slices.Sorted(maps.Keys(env)) {
		size += len(name) + len(env[name])
		if err := checkVariable(name, env[name]); err != nil {
			return err
		}
		// Windows does not tell case apart, and nobody means anything else by `home`.
		upper := strings.ToUpper(name)
		if upper == "HOME" || upper == "CODEX_HOME" || strings.HasPrefix(upper, "LD_") || strings.HasPrefix(upper, "DYLD_") {
			return &EnvError{Name: cut(name, 128), Reason: "may not be set by a request"}
		}
	}
	if size > maxEnv {
		return &EnvError{Reason: fmt.Sprintf("over %d bytes in all", maxEnv)}
	}
	return nil
}

func checkVariable(name, content string) error {
	shown := cut(strings.ToValidUTF8(name, "\uFFFD"), 128)
	switch {
	case !envName.MatchString(name):
		return &EnvError{Name: shown, Reason: "invalid name: want [A-Za-z_][A-Za-z0-9_]*"}
	case strings.ContainsRune(content, 0):
		return &EnvError{Name: shown, Reason: "the value holds a NUL"}
	default:
		return nil
	}
}

// Environment is the complete environment of a Codex, built from nothing: the base,
// then the worker's variables, then the request's, which have been judged. It is
// sorted. Codex hands its environment to every command it runs, so nothing of the
// worker's own may be in it.
func Environment(base Base, worker, request map[string]string) []string {
	type variable struct{ name, content string }
	variables := make(map[string]variable)
	set := func(name, content string) {
		key := name
		if runtime.GOOS == "windows" {
			key = strings.ToUpper(name)
		}
		variables[key] = variable{name, content}
	}
	for _, word := range base.System {
		name, content, _ := strings.Cut(word, "=")
		set(name, content)
	}
	fixed := []variable{{"PATH", base.Path}, {"HOME", base.Home}, {"LANG", base.Lang}, {"CODEX_HOME", base.CodexHome}}
	if runtime.GOOS == "windows" {
		fixed = append(fixed, variable{"USERPROFILE", base.Home})
	}
	for _, v := range fixed {
		if v.content != "" {
			set(v.name, v.content)
		}
	}
	for _, layer := range []map[string]string{worker, request} {
		for name, content := range layer {
			set(name, content)
		}
	}
	var words []string
	for _, v := range variables {
		words = append(words, v.name+"="+v.content)
	}
	slices.Sort(words)
	return words
}
