package command

import "strings"

// maxProblem is how much of what is wrong is said, in bytes: a value that is quoted
// may be of any length.
const maxProblem = 4096

// Problem is why a configuration is refused, for the one-line report of that: valid
// UTF-8 of at most 4096 bytes.
func Problem(err error) string {
	text := strings.ToValidUTF8(err.Error(), "\uFFFD")
	return strings.ToValidUTF8(text[:min(len(text), maxProblem)], "")
}
