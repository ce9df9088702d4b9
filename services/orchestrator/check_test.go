package orchestrator_test

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"telecodex.dev/services/internal/checkup"
	"telecodex.dev/services/internal/codexsim"
	"telecodex.dev/services/orchestrator"
	"telecodex.dev/services/orchestrator/internal/journal"
	"telecodex.dev/services/orchestrator/internal/statedir"
)

// checkConfig is testConfig with the CODEX_HOME that Codex wants to find.
func checkConfig(t *testing.T) orchestrator.Config {
	t.Helper()
	config := testConfig(t)
	if err := os.Mkdir(config.CodexHome, 0o700); err != nil {
		t.Fatal(err)
	}
	return config
}

// examined are the findings about a configuration, by their names.
func examined(t *testing.T, c orchestrator.Config) map[string]checkup.Finding {
	t.Helper()
	found := map[string]checkup.Finding{}
	for _, check := range orchestrator.Check(t.Context(), c) {
		for _, f := range check.Wait(t.Context()) {
			if _, twice := found[f.Name]; twice {
				t.Errorf("%s is told twice", f.Name)
			}
			found[f.Name] = f
			if (f.Mend == "") != (f.Verdict == checkup.OK) {
				t.Errorf("%s is %s, with the mend %q", f.Name, f.Verdict, f.Mend)
			}
			for _, secret := range []string{codexsim.StderrSecret, "SECRET"} {
				if strings.Contains(fmt.Sprint(f), secret) {
					t.Errorf("a secret is shown: %v", f)
				}
			}
		}
	}
	return found
}

func expect(t *testing.T, found map[string]checkup.Finding, name string, verdict checkup.Verdict, detail string) {
	t.Helper()
	if f, told := found[name]; !told || f.Verdict != verdict || !strings.Contains(f.Detail, detail) {
		t.Errorf("%s: %+v, want %s with %q", name, f, verdict, detail)
	}
}

func TestSoundWorkerIsWell(t *testing.T) {
	t.Parallel()
	config := checkConfig(t)
	config.StateDir = filepath.Join(t.TempDir(), "state")
	config.WorkspaceDir = ""
	found := examined(t, config)
	expect(t, found, "codex", checkup.OK, fakecodex)
	expect(t, found, "codex version", checkup.OK, "0.169.0")
	expect(t, found, "codex home", checkup.OK, config.CodexHome)
	expect(t, found, "login", checkup.OK, "logged in")
	expect(t, found, "sandbox read-only", checkup.OK, "a command ran in it")
	expect(t, found, "sandbox workspace-write", checkup.OK, "a command ran in it")
	for _, name := range []string{"state directory", "workspace"} {
		if f := found[name]; f.Verdict == checkup.Fail || !strings.Contains(f.Detail, "it will be made") {
			t.Errorf("%s: %+v", name, f)
		}
	}
	if _, err := os.Stat(config.StateDir); err == nil {
		t.Error("the state directory was made")
	}
}

func TestContainmentIsExplained(t *testing.T) {
	t.Parallel()
	for kind, verdict := range map[string]checkup.Verdict{"namespace": checkup.OK, "cgroup": checkup.Warn, "scan": checkup.Warn,
		"process-group": checkup.Warn, "job-object": checkup.Warn, "": checkup.Warn} {
		if f := checkup.Containment("containment", kind); f.Verdict != verdict || !strings.Contains(f.Detail, kind) {
			t.Errorf("%+v", f)
		}
	}
	if f := examined(t, checkConfig(t))["containment"]; f.Detail == "" || strings.Contains(f.Detail, "not known") {
		t.Errorf("%+v", f)
	}
}

func TestCodexIsTriedAsATurnUsesIt(t *testing.T) {
	t.Parallel()
	script := filepath.Join(t.TempDir(), "codex")
	if err := os.WriteFile(script, []byte("#!/bin/sh\nexec "+fakecodex+" \"$@\"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	impostor := filepath.Join(t.TempDir(), "codex")
	if err := os.WriteFile(impostor, []byte("#!/bin/sh\necho SECRET\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	other := func(home string) string {
		if err := os.WriteFile(filepath.Join(home, "config.toml"), []byte("# mine\nmodel_provider = \"SECRET\"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return home
	}(t.TempDir())
	for _, tt := range []struct {
		name    string
		env     map[string]string
		change  func(c *orchestrator.Config)
		finding string
		verdict checkup.Verdict
		detail  string
		unix    bool
	}{
		{"not installed", nil, func(c *orchestrator.Config) { c.CodexBin = "codex-that-nobody-has" }, "codex", checkup.Fail, "cannot be found", false},
		{"not to be executed", nil, func(c *orchestrator.Config) { c.CodexBin = c.CodexHome }, "codex", checkup.Fail, "cannot be found or executed", false},
		{"a script", nil, func(c *orchestrator.Config) { c.CodexBin = script }, "codex", checkup.Warn, "is a script", true},
		{"another program", nil, func(c *orchestrator.Config) { c.CodexBin = impostor }, "codex version", checkup.Fail, "does not call itself Codex", true},
		{"without a home", nil, func(c *orchestrator.Config) { c.CodexHome = script + "-none" }, "codex home", checkup.Fail, "no such file", true},
		{"too new", map[string]string{"FAKE_CODEX_VERSION": "codex-cli 0.1690.0"}, nil, "codex version", checkup.Warn, "0.1690.0", false},
		{"too old, though its digits are larger", map[string]string{"FAKE_CODEX_VERSION": "codex-cli 0.99.0"}, nil, "codex version", checkup.Warn, "0.99.0", false},
		{"not logged in", map[string]string{"FAKE_CODEX_LOGIN": "no"}, nil, "login", checkup.Fail, "not logged in", false},
		{"with a key", map[string]string{"FAKE_CODEX_LOGIN": "no", "CODEX_API_KEY": "sk-SECRET"}, nil, "login", checkup.OK, "by CODEX_API_KEY", false},
		{"with a provider of its own", map[string]string{"FAKE_CODEX_LOGIN": "no"}, func(c *orchestrator.Config) { c.CodexHome = other }, "login", checkup.Warn, "chooses a provider", false},
		{"no sandbox", map[string]string{"FAKE_CODEX_SANDBOX": "no"}, nil, "sandbox workspace-write", checkup.Fail, "cannot run a command", false},
		{"no sandbox wanted", map[string]string{"FAKE_CODEX_SANDBOX": "no"}, func(c *orchestrator.Config) { c.AllowedSandboxes = []string{"danger-full-access"} }, "sandboxes", checkup.Warn, "danger-full-access", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.unix && runtime.GOOS == "windows" {
				t.Skip("not on windows: a shell script is no program on Windows")
			}
			config := checkConfig(t)
			config.CodexEnv = tt.env
			if tt.change != nil {
				tt.change(&config)
			}
			found := examined(t, config)
			expect(t, found, tt.finding, tt.verdict, tt.detail)
			if _, told := found["sandbox danger-full-access"]; told {
				t.Error("the mode that is none was tried")
			}
		})
	}
}

// A worker with slots makes the CODEX_HOME that is missing, so its doctor does not ask
// for it; it makes none itself.
func TestWithSlotsTheHomeIsMade(t *testing.T) {
	t.Parallel()
	config := testConfig(t)
	config.StateSlotsDir, config.WorkspaceDir = filepath.Join(t.TempDir(), "workers"), ""
	config.CodexHome = filepath.Join(t.TempDir(), "login", "codex")
	found := examined(t, config)
	if f := found["codex home"]; f.Verdict == checkup.Fail || !strings.Contains(f.Detail, config.CodexHome) || !strings.Contains(f.Detail, "it will be made") {
		t.Errorf("%+v", f)
	}
	expect(t, found, "codex version", checkup.OK, "0.169.0")
	expect(t, found, "sandbox workspace-write", checkup.OK, "a command ran in it")
	if _, err := os.Stat(filepath.Dir(config.CodexHome)); err == nil {
		t.Error("doctor made it")
	}
}

func TestMendNamesTheFile(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("not on windows: files have no such modes on Windows")
	}
	config := checkConfig(t)
	config.CodexBin = filepath.Join(t.TempDir(), "mine")
	if err := os.WriteFile(config.CodexBin, []byte("#!/bin/sh\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if f := examined(t, config)["codex"]; f.Mend != "chmod +x "+config.CodexBin {
		t.Errorf("%+v", f)
	}
	native := filepath.Join(t.TempDir(), "codex")
	if err := os.Symlink(fakecodex, native); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", filepath.Dir(native)+":"+os.Getenv("PATH"))
	if err := os.Chmod(config.CodexBin, 0o700); err != nil {
		t.Fatal(err)
	}
	if f := examined(t, config)["codex"]; !strings.Contains(f.Mend, "name "+native+" in ") {
		t.Errorf("%+v", f)
	}
}

func TestWorkersDirectoriesMustBeWritable(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	config := checkConfig(t)
	config.StateDir = filepath.Join(file, "state")
	found := examined(t, config)
	if f := found["state directory"]; f.Verdict != checkup.Fail {
		t.Errorf("%+v", f)
	}
	config = checkConfig(t)
	config.WorkspaceDir = filepath.Join(file, "workspaces")
	expect(t, examined(t, config), "workspace", checkup.Fail, "not a directory")
	config = checkConfig(t)
	config.WorkspaceRoots = []string{filepath.Join(file, "nowhere")}
	if f := examined(t, config)["worker"]; f.Verdict != checkup.Fail {
		t.Errorf("%+v", f)
	}
}

func TestJournalThatCannotBeOpenedIsToldOf(t *testing.T) {
	t.Parallel()
	config := checkConfig(t)
	dir, err := statedir.Open(config.StateDir)
	if err != nil {
		t.Fatal(err)
	}
	j, err := journal.Open(t.Context(), dir.Journal())
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if err := dir.Close(); err != nil {
		t.Fatal(err)
	}
	if f := examined(t, config)["state directory"]; f.Verdict == checkup.Fail || strings.Contains(f.Detail, "damaged") {
		t.Errorf("%+v", f)
	}
	content, err := os.ReadFile(dir.Journal())
	if err != nil {
		t.Fatal(err)
	}
	binary.BigEndian.PutUint32(content[60:], 9999)
	for _, tt := range []struct {
		content []byte
		verdict checkup.Verdict
		detail  string
	}{
		{content, checkup.Fail, "schema 9999 is newer than this program's"},
		{[]byte("SECRET, and no database"), checkup.Warn, "sets it aside"},
	} {
		if err := os.WriteFile(dir.Journal(), tt.content, 0o600); err != nil {
			t.Fatal(err)
		}
		expect(t, examined(t, config), "state directory", tt.verdict, tt.detail)
	}
}

func TestRunningWorkerIsLeftAlone(t *testing.T) {
	t.Parallel()
	w := start(t)
	for _, name := range []string{"state directory", "workspace"} {
		if f := examined(t, w.config)[name]; f.Verdict == checkup.Fail || !strings.Contains(f.Detail, "only looked at") {
			t.Errorf("%s: %+v", name, f)
		}
	}
}
