package codex

// maxDepth bounds the nesting of a line; Codex's own events nest four deep, the
// arguments and results of tools as deep as these like.
const maxDepth = 512

// syntax is the verdict on a line.
type syntax int

const (
	syntaxOK syntax = iota
	syntaxInvalid
	syntaxTooDeep
)

// checkSyntax tells whether text is exactly one JSON value (RFC 8259). It accepts
// what Codex writes beyond that: duplicate names, and bytes in strings that are
// not UTF-8. encoding/json would refuse neither, but its errors quote their
// input, its decoder prefers the last of equal names (an item's id is the first),
// and it is four times slower.
func checkSyntax(text []byte) syntax {
	c := checker{text: text}
	c.space()
	if verdict := c.value(0); verdict != syntaxOK {
		return verdict
	}
	c.space()
	if c.at != len(text) {
		return syntaxInvalid
	}
	return syntaxOK
}

type checker struct {
	text []byte
	at   int
}

// peek is the next byte, 0 at the end: no value begins with it.
func (c *checker) peek() byte {
	if c.at < len(c.text) {
		return c.text[c.at]
	}
	return 0
}

func (c *checker) space() { c.at = skipSpace(c.text, c.at) }

func (c *checker) value(depth int) syntax {
	if depth > maxDepth {
		return syntaxTooDeep
	}
	switch b := c.peek(); {
	case b == '{':
		return c.container('}', depth, true)
	case b == '[':
		return c.container(']', depth, false)
	case b == '"':
		return c.string()
	case b == '-' || '0' <= b && b <= '9':
		return c.number()
	case b == 't':
		return c.word("true")
	case b == 'f':
		return c.word("false")
	case b == 'n':
		return c.word("null")
	default:
		return syntaxInvalid
	}
}

// container checks an object or an array.
func (c *checker) container(end byte, depth int, named bool) syntax {
	c.at++
	c.space()
	if c.peek() == end {
		c.at++
		return syntaxOK
	}
	for {
		if named {
			if verdict := c.name(); verdict != syntaxOK {
				return verdict
			}
		}
		if verdict := c.value(depth + 1); verdict != syntaxOK {
			return verdict
		}
		c.space()
		switch c.peek() {
		case end:
			c.at++
			return syntaxOK
		case ',':
			c.at++
			c.space()
		default:
			return syntaxInvalid
		}
	}
}

// name checks a member's name and its colon.
func (c *checker) name() syntax {
	if c.peek() != '"' {
		return syntaxInvalid
	}
	if verdict := c.string(); verdict != syntaxOK {
		return verdict
	}
	c.space()
	if c.peek() != ':' {
		return syntaxInvalid
	}
	c.at++
	c.space()
	return syntaxOK
}

func (c *checker) string() syntax {
	for i := c.at + 1; i < len(c.text); i++ {
		switch b := c.text[i]; {
		case b == '"':
			c.at = i + 1
			return syntaxOK
		case b < ' ':
			return syntaxInvalid
		case b == '\\':
			n := escapeLength(c.text[i:])
			if n == 0 {
				return syntaxInvalid
			}
			i += n - 1
		}
	}
	return syntaxInvalid
}

// escapeLength is the length of the escape sequence text begins with, 0 when it
// is none.
func escapeLength(text []byte) int {
	if len(text) < 2 {
		return 0
	}
	switch text[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if _, ok := hex4(text[2:]); ok {
			return 6
		}
	}
	return 0
}

// hex4 reads four hexadecimal digits.
func hex4(text []byte) (r rune, ok bool) {
	if len(text) < 4 {
		return 0, false
	}
	for _, b := range text[:4] {
		switch {
		case '0' <= b && b <= '9':
			b -= '0'
		case 'a' <= b && b <= 'f':
			b -= 'a' - 10
		case 'A' <= b && b <= 'F':
			b -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(b)
	}
	return r, true
}

func (c *checker) number() syntax {
	if c.peek() == '-' {
		c.at++
	}
	if c.peek() == '0' {
		c.at++
	} else if !c.digits() {
		return syntaxInvalid
	}
	if c.peek() == '.' {
		c.at++
		if !c.digits() {
			return syntaxInvalid
		}
	}
	if b := c.peek(); b == 'e' || b == 'E' {
		c.at++
		if b := c.peek(); b == '+' || b == '-' {
			c.at++
		}
		if !c.digits() {
			return syntaxInvalid
		}
	}
	return syntaxOK
}

func (c *checker) digits() bool {
	start := c.at
	for b := c.peek(); '0' <= b && b <= '9'; b = c.peek() {
		c.at++
	}
	return c.at > start
}

func (c *checker) word(word string) syntax {
	if len(c.text)-c.at < len(word) || string(c.text[c.at:c.at+len(word)]) != word {
		return syntaxInvalid
	}
	c.at += len(word)
	return syntaxOK
}

func skipSpace(text []byte, at int) int {
	for at < len(text) && (text[at] == ' ' || text[at] == '\t' || text[at] == '\r' || text[at] == '\n') {
		at++
	}
	return at
}
