package command

import (
	"fmt"
	"slices"
	"strings"
)

// Shells are those that Completion knows.
func Shells() []string { return []string{"bash", "zsh", "fish"} }

// Completion is a script that teaches a shell to complete the programs' command
// lines; empty for a shell that is not among Shells.
func Completion(shell string, programs []Command) string {
	var b strings.Builder
	for _, p := range programs {
		switch shell {
		case "bash":
			bash(&b, p)
		case "zsh":
			zsh(&b, p)
		case "fish":
			fish(&b, p)
		}
	}
	return b.String()
}

// scenes are the commands of a program by their words. What is typed without a
// command has the word "".
func (c Command) scenes() (words []string, scenes map[string]Command) {
	scenes = map[string]Command{"": c}
	if meant, ok := c.Find(c.Otherwise); ok {
		scenes[""] = meant
	}
	for _, sub := range c.Commands {
		words = append(words, sub.Word())
		scenes[sub.Word()] = sub
	}
	return words, scenes
}

func names(flags []Flag) (all []string) {
	for _, f := range append(flags[:len(flags):len(flags)], general()...) {
		if f.Name != "" {
			all = append(all, f.Name)
		}
	}
	return all
}

// words are what a value of the flag can be; nil: not to be listed.
func (f Flag) words() []string {
	if f.Value == Bool {
		return []string{"true", "false"}
	}
	return f.Words
}

func bash(b *strings.Builder, p Command) {
	words, scenes := p.scenes()
	fmt.Fprintf(b, "_%[1]s() {\n    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} command=\n    COMPREPLY=()\n", p.Name)
	if len(words) > 0 {
		fmt.Fprintf(b, "    ((COMP_CWORD > 1)) && case ${COMP_WORDS[1]} in\n        %s) command=${COMP_WORDS[1]} ;;\n    esac\n", strings.Join(words, "|"))
	}
	fmt.Fprint(b, "    case \"$command $prev\" in\n")
	each(words, scenes, func(word string, c Command) {
		for _, f := range c.Flags {
			if f.Value == "" || f.Name == "" {
				continue
			}
			reply := ":"
			switch {
			case f.words() != nil:
				reply = compgen("-W", f.words()...)
			case f.Value == Path:
				reply = compgen("-f")
			case f.Value == Dir:
				reply = compgen("-d")
			}
			fmt.Fprintf(b, "        %q) %s; return ;;\n", word+" "+f.Name, reply)
		}
	})
	fmt.Fprint(b, "    esac\n    case $command in\n")
	each(words, scenes, func(word string, c Command) {
		offered := append(slices.Clone(c.Argument.Words), names(c.Flags)...)
		if word == "" {
			offered = append(slices.Clone(words), offered...)
		}
		fmt.Fprintf(b, "        %q) %s ;;\n", word, compgen("-W", offered...))
	})
	fmt.Fprintf(b, "    esac\n}\ncomplete -F _%[1]s %[1]s\n", p.Name)
}

func compgen(option string, words ...string) string {
	if len(words) > 0 {
		option += " \"" + strings.Join(words, " ") + "\""
	}
	return "COMPREPLY=($(compgen " + option + " -- \"$cur\"))"
}

// each visits the scenes in the order of the table, what is typed without a
// command last.
func each(words []string, scenes map[string]Command, visit func(word string, c Command)) {
	for _, word := range append(words[:len(words):len(words)], "") {
		visit(word, scenes[word])
	}
}

func zsh(b *strings.Builder, p Command) {
	words, scenes := p.scenes()
	fmt.Fprintf(b, "_%[1]s() {\n    local command=\n", p.Name)
	if len(words) > 0 {
		fmt.Fprintf(b, "    (( CURRENT > 2 )) && case $words[2] in\n        %s) command=$words[2] ;;\n    esac\n", strings.Join(words, "|"))
	}
	fmt.Fprint(b, "    case \"$command $words[CURRENT-1]\" in\n")
	each(words, scenes, func(word string, c Command) {
		for _, f := range c.Flags {
			if f.Value == "" || f.Name == "" {
				continue
			}
			reply := ":"
			switch {
			case f.words() != nil:
				reply = "compadd -- " + strings.Join(f.words(), " ")
			case f.Value == Path:
				reply = "_files"
			case f.Value == Dir:
				reply = "_files -/"
			}
			fmt.Fprintf(b, "        %q) %s; return ;;\n", word+" "+f.Name, reply)
		}
	})
	fmt.Fprint(b, "    esac\n    case \"$command\" in\n")
	each(words, scenes, func(word string, c Command) {
		offered := append(slices.Clone(c.Argument.Words), names(c.Flags)...)
		if word == "" {
			offered = append(slices.Clone(words), offered...)
		}
		fmt.Fprintf(b, "        %q) compadd -- %s ;;\n", word, strings.Join(offered, " "))
	})
	fmt.Fprintf(b, "    esac\n}\ncompdef _%[1]s %[1]s\n", p.Name)
}

func fish(b *strings.Builder, p Command) {
	words, scenes := p.scenes()
	fmt.Fprintf(b, "complete -c %s -f\n", p.Name)
	for _, sub := range p.Commands {
		fmt.Fprintf(b, "complete -c %s -n __fish_use_subcommand -a %s -d %s\n", p.Name, sub.Word(), quoted(sub.Summary))
	}
	each(words, scenes, func(word string, c Command) {
		condition := ""
		switch {
		case word != "":
			condition = " -n '__fish_seen_subcommand_from " + word + "'"
		case len(words) > 0:
			condition = " -n __fish_use_subcommand"
		}
		for _, argument := range c.Argument.Words {
			fmt.Fprintf(b, "complete -c %s%s -a %s\n", p.Name, condition, argument)
		}
		for _, f := range append(c.Flags[:len(c.Flags):len(c.Flags)], general()...) {
			if f.Name == "" {
				continue
			}
			value := ""
			switch {
			case f.words() != nil:
				value = " -x -a " + quoted(strings.Join(f.words(), " "))
			case f.Value == Path:
				value = " -r -F"
			case f.Value == Dir:
				value = " -x -a '(__fish_complete_directories)'"
			case f.Value != "":
				value = " -x"
			}
			fmt.Fprintf(b, "complete -c %s%s -l %s%s -d %s\n", p.Name, condition, strings.TrimPrefix(f.Name, "--"), value, quoted(f.Help))
		}
	})
}

// quoted is a word of a fish script.
func quoted(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(text) + "'"
}
