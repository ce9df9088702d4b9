package command

import (
	"errors"
	"maps"
	"strings"
	"testing"
	"unicode/utf8"
)

// example is a program with one of everything.
func example() Command {
	flags := []Flag{
		{Name: "--ack-policy", Variable: "X_ACK_POLICY", Value: "POLICY", Default: "always", Words: []string{"always", "on-success"}, Help: "when it counts"},
		{Name: "--live-mode", Variable: "X_LIVE_MODE", Value: Bool, Help: "be strict"},
		{Name: "--store", Variable: "X_STORE", Value: Path, Help: "where it's kept"},
		{Name: "--dir", Value: Dir, Help: "where to work"},
		{Name: "--once", Variable: "X_ONCE", Help: "stop then"},
	}
	run := Command{Name: "example run", Summary: "do it", Synopsis: []string{"example run"}, Description: "Does it.", Flags: flags}
	shell := Command{Name: "example shell", Summary: "talk to one", Argument: Argument{Name: "SHELL", Words: Shells()}}
	return Command{Name: "example", Summary: "show " + strings.Repeat("how ", 30) + "it looks", Synopsis: []string{"example [command]"},
		Description: "First.\n\nSecond.", Commands: []Command{run, shell}, Otherwise: "run",
		Variables: []Flag{{Variable: "X_HOME", Value: Dir, Default: "~", Help: "its home"}},
		Statuses:  []Entry{{"0", "Good."}}, Files: []Entry{{"x.db", "Everything."}}, Examples: []Entry{{"example", "Do."}}}
}

func TestArgumentsAreRead(t *testing.T) {
	run, _ := example().Find("run")
	shell, _ := example().Find("shell")
	for _, tt := range []struct {
		name    string
		command Command
		args    []string
		want    Values
		err     string
	}{
		{"nothing", run, nil, Values{}, ""},
		{"a value as a word", run, []string{"--ack-policy", "always"}, Values{"--ack-policy": "always"}, ""},
		{"a boolean is a word too", run, []string{"--live-mode", "false"}, Values{"--live-mode": "false"}, ""},
		{"a value with =", run, []string{"--store=a=b"}, Values{"--store": "a=b"}, ""},
		{"an empty value", run, []string{"--store="}, Values{"--store": ""}, ""},
		{"a value with a dash", run, []string{"--store", "-1"}, Values{"--store": "-1"}, ""},
		{"a flag without a value", run, []string{"--once"}, Values{"--once": "true"}, ""},
		{"the last counts", run, []string{"--store", "a", "--store", "b"}, Values{"--store": "b"}, ""},
		{"an argument", shell, []string{"zsh"}, Values{"SHELL": "zsh"}, ""},
		{"unknown", run, []string{"--bogus", "x"}, nil, "unknown argument: --bogus"},
		{"unknown with a value", run, []string{"--bogus=SECRET"}, nil, "unknown argument: --bogus"},
		{"a word too many", run, []string{"now"}, nil, "unknown argument: now"},
		{"a misplaced token", run, []string{"123456:AAHsecret"}, nil, "unknown argument: <redacted>"},
		{"two lines", run, []string{"a\nb"}, nil, `unknown argument: a\nb`},
		{"no value", run, []string{"--store"}, nil, "missing value for --store"},
		{"a flag for a value", run, []string{"--store", "--once"}, nil, "missing value for --store"},
		{"no argument", shell, nil, nil, "missing value for SHELL"},
		{"another argument", shell, []string{"tcsh"}, nil, "unknown argument: tcsh"},
		{"two arguments", shell, []string{"zsh", "fish"}, nil, "unknown argument: fish"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tt.command.Parse(tt.args)
			if tt.err == "" && (err != nil || !maps.Equal(got, tt.want)) {
				t.Errorf("%v, %v", got, err)
			}
			var refused *ArgumentError
			if tt.err != "" && (!errors.As(err, &refused) || err.Error() != tt.err) {
				t.Errorf("%v, want %s", err, tt.err)
			}
		})
	}
}

func TestHelpAndVersionOutweighTheRest(t *testing.T) {
	run, _ := example().Find("run")
	for word, want := range map[string]error{"-h": ErrHelp, "--help": ErrHelp, "--version": ErrVersion} {
		_, err := run.Parse([]string{"--once", word})
		if err != want || run.Asked(err) == "" {
			t.Errorf("%s: %v", word, err)
		}
	}
	if text := run.Asked(Unknown("x")); text != "" {
		t.Errorf("asked for %q", text)
	}
	if line := run.Asked(ErrVersion); !strings.HasPrefix(line, "example ") || !strings.HasSuffix(line, ")\n") {
		t.Errorf("version %q", line)
	}
}

func TestPageSaysEverythingOfTheTable(t *testing.T) {
	program := example()
	run, _ := program.Find("run")
	for _, want := range []string{
		"NAME\n    example - show how", "\nSYNOPSIS\n    example [command]\n", "\nDESCRIPTION\n    First.\n\n    Second.\n",
		"\nCOMMANDS\n    run         do it\n    shell       talk to one\n", "\nOPTIONS\n    --help\n        show this page\n    --version\n",
		"\nENVIRONMENT\n    X_HOME DIR\n        its home\n        [default ~]\n", "\nEXIT STATUS\n    0\n        Good.\n",
		"\nFILES\n    x.db\n        Everything.\n", "\nEXAMPLES\n    example\n        Do.\n",
	} {
		if !strings.Contains(program.Page(), want) {
			t.Errorf("%q is missing in:\n%s", want, program.Page())
		}
	}
	want := "    --ack-policy POLICY\n        when it counts\n        [variable X_ACK_POLICY; default always; one of always, on-success]\n"
	if !strings.Contains(run.Page(), want) || !strings.Contains(run.Page(), "    --once\n        stop then\n        [variable X_ONCE]\n") ||
		!strings.Contains(run.Page(), "\nFILES\n    It leaves none behind.\n") {
		t.Errorf("flags are missing in:\n%s", run.Page())
	}
	for line := range strings.Lines(program.Page()) {
		if utf8.RuneCountInString(strings.TrimSpace(line)) > width {
			t.Errorf("a line of %d characters", len(line))
		}
	}
}
