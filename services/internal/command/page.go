package command

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// width is how wide a page is, in characters.
const width = 96

// Page is the command's manual page.
func (c Command) Page() string {
	p := &page{}
	p.section("NAME")
	p.line(4, c.Name+" - "+c.Summary)
	p.section("SYNOPSIS")
	for _, synopsis := range c.Synopsis {
		p.line(4, synopsis)
	}
	p.section("DESCRIPTION")
	for i, paragraph := range strings.Split(c.Description, "\n\n") {
		if i > 0 {
			p.text.WriteByte('\n')
		}
		p.line(4, paragraph)
	}
	if len(c.Commands) > 0 {
		p.section("COMMANDS")
		for _, sub := range c.Commands {
			fmt.Fprintf(&p.text, "    %-11s %s\n", sub.Word(), sub.Summary)
		}
	}
	p.section("OPTIONS")
	for _, f := range append(c.Flags[:len(c.Flags):len(c.Flags)], general()...) {
		p.flag(f)
	}
	if len(c.Variables) > 0 {
		p.section("ENVIRONMENT")
		for _, f := range c.Variables {
			p.flag(f)
		}
	}
	p.entries("EXIT STATUS", c.Statuses)
	p.entries("FILES", c.Files)
	if len(c.Files) == 0 {
		p.section("FILES")
		p.line(4, "It leaves none behind.")
	}
	p.entries("EXAMPLES", c.Examples)
	return p.text.String()
}

type page struct{ text strings.Builder }

func (p *page) section(name string) {
	if p.text.Len() > 0 {
		p.text.WriteByte('\n')
	}
	p.text.WriteString(name + "\n")
}

func (p *page) entries(section string, entries []Entry) {
	if len(entries) == 0 {
		return
	}
	p.section(section)
	for _, e := range entries {
		p.line(4, e.Name)
		p.line(8, e.Text)
	}
}

// flag is a line of how it is given, one of what it does, and one of what else is
// known.
func (p *page) flag(f Flag) {
	name := f.Name
	if name == "" {
		name = f.Variable
	}
	p.line(4, strings.TrimSpace(name+" "+f.Value))
	p.line(8, f.Help)
	var notes []string
	if f.Name != "" && f.Variable != "" {
		notes = append(notes, "variable "+f.Variable)
	}
	if f.Default != "" {
		notes = append(notes, "default "+f.Default)
	}
	if len(f.Words) > 0 {
		notes = append(notes, "one of "+strings.Join(f.Words, ", "))
	}
	if len(notes) > 0 {
		p.line(8, "["+strings.Join(notes, "; ")+"]")
	}
}

// line writes a text in lines of the page's width.
func (p *page) line(indent int, text string) {
	column := 0
	for word := range strings.FieldsSeq(text) {
		n := utf8.RuneCountInString(word)
		switch {
		case column == 0:
			p.text.WriteString(strings.Repeat(" ", indent))
			column = indent
		case column+1+n > width:
			p.text.WriteString("\n" + strings.Repeat(" ", indent))
			column = indent
		default:
			p.text.WriteByte(' ')
			column++
		}
		p.text.WriteString(word)
		column += n
	}
	p.text.WriteByte('\n')
}
