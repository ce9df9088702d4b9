// Command bundle packs a directory, the same bytes for the same files. See
// package bundle.
package main

import (
	"telecodex.dev/services/internal/bundle"
	"telecodex.dev/services/internal/lifecycle"
)

func main() { lifecycle.Main(bundle.Run) }
