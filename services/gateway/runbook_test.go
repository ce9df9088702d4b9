package gateway

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// Every code that a report can show is in the runbook's triage, and no other.
func TestRunbookExplainsEveryCode(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("internal/cycle/detail.go")
	if err != nil {
		t.Fatal(err)
	}
	runbook, err := os.ReadFile("../../docs/RUNBOOK.md")
	if err != nil {
		t.Fatal(err)
	}
	collect := func(pattern string, text []byte) (found []string) {
		for _, match := range regexp.MustCompile(pattern).FindAllSubmatch(text, -1) {
			found = append(found, string(match[1]))
		}
		slices.Sort(found)
		return found
	}
	block := regexp.MustCompile(`(?s)// Codes of details\.\nconst \((.*?)\n\)`).Find(source)
	codes := collect(`= "([a-z-]+)"`, block)
	explained := collect("(?m)^\\| `([a-z]+(?:-[a-z]+)+)` \\| .+ \\| .+ \\| .+ \\|$", runbook)
	if len(codes) < 10 || !slices.Equal(codes, explained) {
		t.Errorf("codes     %q\nexplained %q", codes, explained)
	}
}

// Which codes are never raised is said of those, and of no other: the program names
// them nowhere but in the table of codes.
func TestRunbookSaysWhichCodesAreNeverRaised(t *testing.T) {
	t.Parallel()
	const table = "internal/cycle/detail.go"
	source, err := os.ReadFile(table)
	if err != nil {
		t.Fatal(err)
	}
	runbook, err := os.ReadFile("../../docs/RUNBOOK.md")
	if err != nil {
		t.Fatal(err)
	}
	var program strings.Builder
	err = filepath.WalkDir(".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || filepath.ToSlash(path) == table {
			return err
		}
		text, err := os.ReadFile(path)
		program.Write(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile(`(?s)// Codes of details\.\nconst \((.*?)\n\)`).Find(source)
	named, never := 0, 0
	for _, code := range regexp.MustCompile(`([A-Z][A-Za-z]+) += "([a-z-]+)"`).FindAllStringSubmatch(string(block), -1) {
		raised := regexp.MustCompile(`\b` + code[1] + `\b`).MatchString(program.String())
		saidNever := strings.Contains(string(runbook), "| `"+code[2]+"` | never raised: ")
		if raised == saidNever {
			t.Errorf("%s: raised: %v, the runbook says never: %v", code[2], raised, saidNever)
		}
		named++
		if saidNever {
			never++
		}
	}
	if named < 10 || never == 0 {
		t.Errorf("%d codes, %d of them never raised", named, never)
	}
}

// The five defaults that are not the origin's are said as they are, and what is
// said to bring the origin's back does.
func TestRunbookSaysWhichDefaultsAreNotTheOrigins(t *testing.T) {
	t.Parallel()
	runbook, err := os.ReadFile("../../docs/RUNBOOK.md")
	if err != nil {
		t.Fatal(err)
	}
	table := regexp.MustCompile(`(?s)<!-- origin -->(.*?)<!-- end -->`).FindString(string(runbook))
	rows := regexp.MustCompile("(?m)^\\| .+ \\| .+ \\| (.+) \\| `(CHANNEL_[A-Z_]+)=(.*?)`.* \\|$").FindAllStringSubmatch(table, -1)
	before := []string{"-CHANNEL_ALLOWED_CHAT_IDS"}
	for _, row := range rows {
		here, variable := row[1], row[2]
		for _, f := range Flags() {
			alone := variable == "CHANNEL_ALLOWED_CHAT_IDS" || variable == "CHANNEL_POLL_INTERVAL_S" // there is none, or another variable's
			if f.Variable == variable && !alone && !strings.Contains(here, "`"+f.Default+"`") {
				t.Errorf("the default of %s is %s, the runbook says %q", variable, f.Default, here)
			}
			if f.Variable == "CHANNEL_LONG_POLL_S" && variable == "CHANNEL_POLL_INTERVAL_S" && !strings.Contains(here, "`"+f.Default+"`") {
				t.Errorf("polls take %s, the runbook says %q", f.Default, here)
			}
		}
		before = append(before, variable+"="+row[3])
	}
	if len(rows) != 5 {
		t.Fatalf("%d rows in\n%s", len(rows), table)
	}
	c, err := ParseConfig(nil, with(before...))
	if err != nil || c.OrchestratorMode != ModeDefault || len(c.AllowedChatIDs) != 0 || c.TurnTimeout != 20*time.Second || c.LongPoll != 0 ||
		c.PollInterval != 2*time.Second || c.NotifyOnError {
		t.Errorf("with %q: %+v, %v", before, c, err)
	}
	if _, err := ParseConfig(nil, with("-CHANNEL_ALLOWED_CHAT_IDS")); err == nil {
		t.Error("an empty allowlist is taken in codex mode")
	}
}
