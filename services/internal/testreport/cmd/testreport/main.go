// Command testreport runs `go test` with its arguments and reports what failed
// and what was skipped. See package testreport.
package main

import (
	"telecodex.dev/services/internal/lifecycle"
	"telecodex.dev/services/internal/testreport"
)

func main() { lifecycle.Main(testreport.Run) }
