// Command passes passes a point four times, and says what
// else was asked for.
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
	if ttl := crashpoint.LeaseTTL(); ttl != 0 {
		_, _ = os.Stdout.WriteString(ttl.String())
	}
	_, _ = os.Stdout.WriteString(crashpoint.Containment())
}
