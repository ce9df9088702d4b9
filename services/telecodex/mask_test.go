package telecodex

import (
	"path/filepath"
	"slices"
	"testing"
)

func TestMasksHideDirectoriesUnlessCodexNeedsThem(t *testing.T) {
	root := t.TempDir()
	at := func(names ...string) string { return filepath.Join(append([]string{root}, names...)...) }
	for _, tt := range []struct {
		name                string
		files, needed, want []string
	}{
		{"a directory of its own is hidden whole", []string{at("gateway", "gateway.db")}, []string{at("work")}, []string{at("gateway")}},
		{"beside the workspaces only the file is", []string{at("gateway.db")}, []string{at("work")}, []string{at("gateway.db")}},
		{"the directory that is needed itself too", []string{at("work", "token")}, []string{at("work")}, []string{at("work", "token")}},
		{"a name that merely begins alike does not count", []string{at("wo", "token")}, []string{at("work")}, []string{at("wo")}},
		{"what is not set and what is no file is left out", []string{"", "postgres://db/telecodex"}, nil, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := masks(tt.files, tt.needed); !slices.Equal(got, tt.want) {
				t.Errorf("masks = %q, want %q", got, tt.want)
			}
		})
	}
}
