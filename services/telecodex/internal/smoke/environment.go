package smoke

import (
	"maps"
	"runtime"
	"slices"
	"strings"
)

// environment is the environment of a process, by name.
type environment map[string]string

func newEnvironment(words []string) environment {
	e := environment{}
	for _, word := range words {
		// Windows keeps the working directory of each drive under "=C:".
		if name, value, ok := strings.Cut(word, "="); ok && name != "" {
			if runtime.GOOS == "windows" { // where Path is PATH
				name = strings.ToUpper(name)
			}
			e[name] = value
		}
	}
	return e
}

// words are what os/exec takes.
func (e environment) words() []string {
	words := make([]string, 0, len(e))
	for _, name := range slices.Sorted(maps.Keys(e)) {
		words = append(words, name+"="+e[name])
	}
	return words
}

func (e environment) lookup(name string) (string, bool) {
	value, set := e[name]
	return value, set
}

// with returns a copy in which the given names have other values.
func (e environment) with(changes map[string]string) environment {
	changed := maps.Clone(e)
	maps.Copy(changed, changes)
	return changed
}

// without returns a copy that lacks the names that match.
func (e environment) without(match func(name string) bool) environment {
	kept := maps.Clone(e)
	maps.DeleteFunc(kept, func(name, _ string) bool { return match(name) })
	return kept
}

// isSetting says whether a variable configures one of the programs.
func isSetting(name string) bool {
	prefix, _, _ := strings.Cut(name, "_")
	return slices.Contains([]string{"CHANNEL", "ORCHESTRATOR", "CODEX", "FAKE"}, prefix)
}

// isProxy says whether a variable says how the network is reached. Programs read
// them in both cases.
func isProxy(name string) bool { return strings.HasSuffix(strings.ToUpper(name), "_PROXY") }
