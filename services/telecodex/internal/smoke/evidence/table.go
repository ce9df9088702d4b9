package evidence

import (
	"fmt"
	"strings"
	"time"
)

// Row is one cycle in the protocol's evidence table.
type Row struct {
	Scenario, Command      string
	Start, End             time.Time // zero: it was not run
	Status, Reason         string
	Signals, Path, Verdict string
}

// columns are those of the protocol, in its words.
var columns = []string{"Scenario", "Command", "Start UTC", "End UTC", "Status", "Reason", "Key signals observed",
	"Redacted evidence path", "Decision"}

// Table is the protocol's evidence table in Markdown.
func Table(rows []Row) string {
	var b strings.Builder
	fmt.Fprintf(&b, "| %s |\n|%s\n", strings.Join(columns, " | "), strings.Repeat("---|", len(columns)))
	for _, r := range rows {
		cells := []string{r.Scenario, code(r.Command), stamp(r.Start), stamp(r.End), code(r.Status), code(r.Reason),
			code(r.Signals), code(r.Path), code(r.Verdict)}
		fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | "))
	}
	return b.String()
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return code(t.UTC().Format("2006-01-02T15:04:05Z"))
}

// code sets a cell in code, whatever it holds.
func code(text string) string {
	if text == "" {
		return "-"
	}
	return "`" + Cell(text) + "`"
}

// Cell keeps a text within one cell of a table.
func Cell(text string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ", "\r", " ", "`", "'").Replace(text)
}
