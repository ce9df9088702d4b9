// Command archive packs a directory, the same bytes for the same files. See
// package archive.
package main

import (
	"telecodex.dev/services/internal/archive"
	"telecodex.dev/services/internal/lifecycle"
)

func main() { lifecycle.Main(archive.Run) }
