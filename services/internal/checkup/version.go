package checkup

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// CodexVersion judges a version against the range that was tested.
func CodexVersion(name, version, oldest, newest string) Finding {
	if compare(version, oldest) < 0 || compare(version, newest) > 0 {
		return Doubtful(name, fmt.Sprintf("Codex %s; tested with %s to %s", version, oldest, newest),
			"what Codex prints may have changed; a tested one: npm install -g @openai/codex@"+newest)
	}
	return Well(name, "Codex %s, which is among those tested", version)
}

// compare orders versions by their numbers: 0.99.0 comes before 0.169.0.
func compare(a, b string) int {
	a, _, _ = strings.Cut(a, "-")
	b, _, _ = strings.Cut(b, "-")
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := range max(len(as), len(bs)) {
		if c := cmp.Compare(number(as, i), number(bs, i)); c != 0 {
			return c
		}
	}
	return 0
}

func number(parts []string, i int) int {
	if i >= len(parts) {
		return 0
	}
	n, err := strconv.Atoi(parts[i])
	if err != nil {
		return -1
	}
	return n
}
