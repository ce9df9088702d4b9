package structure

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	failure  = regexp.MustCompile(`Code: codes\.(\w+), Reason: diagnosticsv1\.ErrorReason_ERROR_REASON_(\w+)`)
	reason   = regexp.MustCompile(`(?m)((?:^  //.*\n)+)  ERROR_REASON_(\w+) = \d+`)
	wordEnds = regexp.MustCompile(`([a-z])([A-Z])`)
)

// TestTheContractNamesTheCodesOfEachReason compares the status codes with which a
// reason is sent with those that its description in the contract begins with.
func TestTheContractNamesTheCodesOfEachReason(t *testing.T) {
	contract, err := os.ReadFile("../../../proto/telecodex/diagnostics/v1/error_reason.proto")
	if err != nil {
		t.Fatal(err)
	}
	described := map[string]string{}
	for _, match := range reason.FindAllStringSubmatch(string(contract), -1) {
		described[match[2]] = match[1]
	}
	sent := 0
	err = filepath.WalkDir("../..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path)
		for _, match := range failure.FindAllStringSubmatch(string(source), -1) {
			sent++
			code := strings.ToUpper(wordEnds.ReplaceAllString(match[1], "${1}_${2}"))
			if !strings.Contains(described[match[2]], " "+code) {
				t.Errorf("%s sends %s with %s; the contract says of it:\n%s", path, match[2], code, described[match[2]])
			}
		}
		return err
	})
	if err != nil || sent < 10 || len(described) < 10 {
		t.Errorf("%d failures and %d reasons were found, %v", sent, len(described), err)
	}
}
