//go:build compose

package compose_test

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// demo is the project of the demonstration.
const demo = "telecodex-demo"

// remains are what an engine has of a project: containers, volumes, networks,
// images.
func remains(t *testing.T, project string) string {
	t.Helper()
	label := "label=com.docker.compose.project=" + project
	var all strings.Builder
	for _, args := range [][]string{{"ps", "--all"}, {"volume", "ls"}, {"network", "ls"}, {"images"}} {
		all.WriteString(must(t, nil, "docker", append(args, "--quiet", "--filter", label)...))
	}
	return all.String()
}

// madeDown is make down at the end of a test, however that ended.
func madeDown(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if _, err := command(ctx, nil, "make", "down"); err != nil {
		t.Error(err)
	}
}

// shown is what the output of the lines of docs/DEPLOY.md must match. They are run
// in their order, on the ports that they name.
var shown = map[string]string{
	"SCALE=3 make up": ``,
	`curl -s -d '{"chat_id": 123456789, "text": "hello"}' http://127.0.0.1:8081/control/inject`: `"update_id":`,
	`curl -s 'http://127.0.0.1:8081/control/messages?chat_id=123456789'`:                        `You said: hello`,
	"docker compose -f deploy/compose.yaml -f deploy/compose.demo.yaml ps":                      `(?s)gateway.*\(healthy\).*orchestrator-3.*\(healthy\)`,
	"make down": ``,
	"docker compose -f deploy/compose.yaml -f deploy/compose.postgres.yaml -f deploy/compose.observability.yaml config --quiet": ``,
	"make install DESTDIR=staging PREFIX=/usr": ``,
}

// looked are the lines that are looked at and not done here, with what they would do
// and the reason.
var looked = map[string]struct{ shows, reason string }{
	"CHANNEL_TOKEN_FILE=token.txt CHANNEL_ALLOWED_CHAT_IDS=123456789 make up": {`deploy/stack up`, "it asks the real Telegram, with the real Codex"},
	"OVERLAYS=tls make up":                      {`deploy/stack up`, "TestOverlaysComeUpAndLeaveNothing does it"},
	`OVERLAYS="postgres observability" make up`: {`deploy/stack up`, "their images come from a registry"},
	"GATEWAYS=2 OVERLAYS=postgres make up":      {`deploy/stack up`, "TestTheDatabaseOverlay does it"},
	"TARGETS=linux/amd64 make release":          {`deploy/release dist`, ".ci/run does it twice, in its section release"},
}

// The lines of docs/DEPLOY.md work as printed, and the demonstration leaves nothing.
func TestEveryLineOfTheDocumentWorks(t *testing.T) {
	needEngine(t)
	if remains(t, demo) != "" {
		t.Fatalf("the demonstration runs already: make down ends it")
	}
	t.Cleanup(func() {
		madeDown(t)
		if err := os.RemoveAll(filepath.Join(root, "staging")); err != nil {
			t.Error(err)
		}
	})
	text, err := os.ReadFile(filepath.Join(root, "docs", "DEPLOY.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		for line := range strings.Lines(block[1]) {
			try(t, strings.TrimSpace(line))
		}
	}
	if left := remains(t, demo); left != "" {
		t.Errorf("make down left\n%s", left)
	}
	installed(t)
}

// try runs a line, until it shows what it must: an answer takes its time.
func try(t *testing.T, line string) {
	t.Helper()
	pattern, known := shown[line]
	run := line
	if only, is := looked[line]; is {
		t.Logf("only looked at: %s: %s", line, only.reason)
		pattern, known, run = only.shows, true, strings.Replace(line, "make ", "make --dry-run ", 1)
	}
	if !known {
		t.Errorf("no test runs %q", line)
		return
	}
	want := regexp.MustCompile(pattern)
	for deadline := time.Now().Add(patience); ; {
		output, err := command(t.Context(), nil, "sh", "-c", run)
		if err == nil && want.MatchString(output) {
			return
		}
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("%s: %v\n%s", line, err, output)
		}
		timer := time.NewTimer(200 * time.Millisecond)
		<-timer.C
	}
}

// installed looks at what make install has installed.
func installed(t *testing.T) {
	t.Helper()
	staging, err := filepath.Abs(filepath.Join(root, "staging", "usr"))
	if err != nil {
		t.Fatal(err)
	}
	if output := must(t, nil, filepath.Join(staging, "bin", "orchestrator"), "--version"); !strings.HasPrefix(output, "orchestrator ") {
		t.Errorf("installed: %s", output)
	}
	units, err := filepath.Glob(filepath.Join(staging, "lib", "systemd", "system", "telecodex-*.service"))
	if err != nil || len(units) != 2 {
		t.Fatalf("units: %q, %v", units, err)
	}
	for _, unit := range units {
		text, err := os.ReadFile(unit)
		if err != nil || !strings.Contains(string(text), "ExecStart=/usr/bin/") || strings.Contains(string(text), "@PREFIX@") {
			t.Errorf("%s: %v\n%s", unit, err, text)
		}
	}
}

// Doctor says in a worker's container what the sandbox needs: with the default
// profiles it fails and says what mends it, as the compose file has it it is well.
func TestDoctorKnowsWhatAContainerForbids(t *testing.T) {
	t.Parallel()
	needCodex(t)
	const project = "telecodex-doctor"
	compose := []string{"compose", "--project-name", project, "--file", "deploy/compose.yaml"}
	must(t, nil, "docker", append(compose, "build", "--quiet", "orchestrator")...)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if _, err := command(ctx, nil, "docker", append(compose, "down", "--volumes", "--rmi", "local")...); err != nil {
			t.Error(err)
		}
	})
	key := []string{"--env", "CODEX_API_KEY=none", "--env", "ORCHESTRATOR_CODEX_ENV=CODEX_API_KEY"}

	plain, err := command(t.Context(), nil, "docker", append(append([]string{"run", "--rm"}, key...), project+"-orchestrator", "doctor")...)
	if err == nil || !strings.Contains(plain, "fail  sandbox workspace-write: ") || !strings.Contains(plain, "seccomp=unconfined") || !strings.Contains(plain, "systempaths=unconfined") {
		t.Errorf("in a default container: %v\n%s", err, plain)
	}
	args := append(append(compose, "run", "--rm", "--no-deps"), key...)
	well, err := command(t.Context(), nil, "docker", append(args, "orchestrator", "doctor")...)
	if err != nil || !strings.Contains(well, "ok    sandbox workspace-write: ") || !strings.Contains(well, "ok    containment: namespace") {
		t.Errorf("in compose's container: %v\n%s", err, well)
	}
}

// What an image has where its volume lies is copied to a new volume by every replica
// that begins: those that begin at once make the same directories, and one fails. So
// there is nothing, for a user and a mode alone are copied without harm.
func TestAnImageHasNothingForItsVolume(t *testing.T) {
	t.Parallel()
	s := newStack(t, "telecodex-images", nil)
	s.compose("build", "--quiet", "gateway", "orchestrator")
	for service, want := range map[string]string{"gateway": "drwx------ 10001/10001 ", "orchestrator": "drwx------ 10002/10002 "} {
		container := strings.TrimSpace(must(t, nil, "docker", "create", s.project+"-"+service))
		listed := must(t, nil, "sh", "-c", `docker export "$1" | tar --list --verbose --numeric-owner`, "sh", container)
		must(t, nil, "docker", "rm", "--force", "--volumes", container)
		var there []string
		for line := range strings.Lines(listed) {
			if strings.Contains(line, " var/lib/telecodex/") {
				there = append(there, line)
			}
		}
		if len(there) != 1 || !strings.Contains(there[0], want) {
			t.Errorf("%s: %q", service, there)
		}
	}
}
