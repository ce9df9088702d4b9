package checkup

import (
	"fmt"
	"io"
)

// Print prints a line for each finding, and one for its mend.
func Print(w io.Writer, found []Finding) error {
	for _, f := range found {
		text := fmt.Sprintf("%-4s  %s: %s\n", f.Verdict, f.Name, f.Detail)
		if f.Mend != "" {
			text += fmt.Sprintf("      mend: %s\n", f.Mend)
		}
		if _, err := io.WriteString(w, text); err != nil {
			return err
		}
	}
	return nil
}

// PrintSum prints how many findings there are of each verdict.
func PrintSum(w io.Writer, found []Finding) error {
	count := map[Verdict]int{}
	for _, f := range found {
		count[f.Verdict]++
	}
	_, err := fmt.Fprintf(w, "%d ok, %d warn, %d fail\n", count[OK], count[Warn], count[Fail])
	return err
}
