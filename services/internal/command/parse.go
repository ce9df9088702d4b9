package command

import (
	"errors"
	"strconv"
	"strings"
)

// What the arguments can ask for instead of the command's work.
var (
	ErrHelp    = errors.New("help requested")
	ErrVersion = errors.New("version requested")
)

// ArgumentError refuses a command line. Its text never quotes what may be a
// token.
type ArgumentError struct{ text string }

func (e *ArgumentError) Error() string { return e.text }

// Unknown is the error for a word that means nothing here.
func Unknown(word string) error {
	name, _, _ := strings.Cut(word, "=")
	return &ArgumentError{"unknown argument: " + harmless(name)}
}

// Select finds the command that the arguments begin with, and what is left for
// it; the program itself, or what it means without a word, where they begin with
// a flag. "help" with or without a word asks for a page. Errors: ErrHelp and
// ErrVersion for the command returned, *ArgumentError.
func (c Command) Select(args []string) (selected Command, rest []string, err error) {
	selected = c
	if meant, ok := c.Find(c.Otherwise); ok {
		selected = meant
	}
	switch {
	case len(args) == 0:
		return selected, nil, nil
	case args[0] == "--help" || args[0] == "-h":
		return c, nil, ErrHelp
	case args[0] == "--version":
		return c, nil, ErrVersion
	case strings.HasPrefix(args[0], "-"):
		return selected, args, nil
	case args[0] != "help":
		selected, known := c.Find(args[0])
		if !known {
			return c, nil, Unknown(args[0])
		}
		return selected, args[1:], nil
	case len(args) == 1:
		return c, nil, ErrHelp
	case len(args) > 2:
		return c, nil, Unknown(args[2])
	}
	selected, known := c.Find(args[1])
	if !known {
		return c, nil, Unknown(args[1])
	}
	return selected, nil, ErrHelp
}

// Values are what was given: by the names of flags and of the argument.
type Values map[string]string

// Parse reads "--name value" and "--name=value"; a flag without a value is
// "true". Of equal flags the last one counts. Errors: ErrHelp, ErrVersion,
// *ArgumentError.
func (c Command) Parse(args []string) (Values, error) {
	takesValue := map[string]bool{}
	for _, f := range c.Flags {
		takesValue[f.Name] = f.Value != ""
	}
	given := Values{}
	for i := 0; i < len(args); i++ {
		name, value, inline := strings.Cut(args[i], "=")
		wants, known := takesValue[name]
		_, taken := given[c.Argument.Name]
		switch {
		case args[i] == "--help" || args[i] == "-h":
			return nil, ErrHelp
		case args[i] == "--version":
			return nil, ErrVersion
		case !known && c.Argument.Name != "" && !taken && c.Argument.takes(args[i]):
			name, value = c.Argument.Name, args[i]
		case !known:
			return nil, Unknown(args[i])
		case inline:
		case !wants:
			value = "true"
		case i+1 == len(args) || strings.HasPrefix(args[i+1], "--"):
			return nil, &ArgumentError{"missing value for " + name}
		default:
			i++
			value = args[i]
		}
		given[name] = value
	}
	if _, taken := given[c.Argument.Name]; len(c.Argument.Words) > 0 && !taken {
		return nil, &ArgumentError{"missing value for " + c.Argument.Name}
	}
	return given, nil
}

func (a Argument) takes(word string) bool {
	for _, known := range a.Words {
		if known == word {
			return true
		}
	}
	return len(a.Words) == 0 && !strings.HasPrefix(word, "-")
}

// harmless keeps a word that may be a misplaced token out of an error.
func harmless(word string) string {
	if id, rest, ok := strings.Cut(word, ":"); ok && rest != "" && strings.Trim(id, "0123456789") == "" {
		return "<redacted>"
	}
	quoted := strconv.QuoteToGraphic(word)
	return quoted[1 : len(quoted)-1]
}
