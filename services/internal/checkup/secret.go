package checkup

import (
	"fmt"
	"os"
	"runtime"
)

// Secret says of a file with a secret that every user of the machine may read it;
// nothing where that is not so, or cannot be seen.
func Secret(name, path string) []Finding {
	info, err := os.Stat(path)
	if err != nil || runtime.GOOS == "windows" || info.Mode().Perm()&0o007 == 0 {
		return nil
	}
	return []Finding{Doubtful(name, fmt.Sprintf("every user of this machine may read it (mode %04o)", info.Mode().Perm()), "chmod 600 "+path)}
}
