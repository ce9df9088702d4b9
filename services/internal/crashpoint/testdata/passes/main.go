// Command passes passes a point four times.
package main

import (
	"os"

	"telecodex.dev/services/internal/crashpoint"
)

func main() {
	for range 4 {
		crashpoint.Here(crashpoint.Sent)
		_, _ = os.Stdout.WriteString("s")
	}
}
