package main

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if args := os.Getenv("FAKETELEGRAM_TEST_ARGS"); args != "" {
		os.Exit(run(strings.Split(args, "|"), os.Stdout, os.Stderr))
	}
	goleak.VerifyTestMain(m)
}

func TestServesUntilASignal(t *testing.T) {
	file := filepath.Join(t.TempDir(), "address")
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), "FAKETELEGRAM_TEST_ARGS=--addr|127.0.0.1:0|--addr-file|"+file+"|--token|77:SECRET|--bot-username|b|--verbose")
	var stderr bytes.Buffer
	child.Stderr = &stderr
	stdout, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer child.Process.Kill()
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	base := strings.TrimSpace(strings.TrimPrefix(line, "faketelegram listening on "))
	address, err := os.ReadFile(file)
	if err != nil || "http://"+string(address) != base {
		t.Fatalf("printed %q, wrote %q, %v", line, address, err)
	}
	resp, err := http.Get(base + "/bot77:SECRET/getMe")
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	if !strings.Contains(string(body), `"id":77`) || !strings.Contains(string(body), `"username":"b"`) {
		t.Errorf("%s", body)
	}
	if runtime.GOOS == "windows" {
		child.Process.Kill() // no signal can be sent to a process there
		child.Wait()
		return
	}
	child.Process.Signal(syscall.SIGTERM)
	if err := child.Wait(); err != nil {
		t.Error(err)
	}
	if got := stderr.String(); !strings.Contains(got, "getMe chat=0 status=200") || strings.Contains(got, "SECRET") {
		t.Errorf("said %q", got)
	}
}

// The help names every path of the control API that the simulator knows.
func TestHelpListsTheControls(t *testing.T) {
	source, err := os.ReadFile("../../control.go")
	if err != nil {
		t.Fatal(err)
	}
	var stdout, help bytes.Buffer
	if status := run([]string{"--help"}, &stdout, &help); status != 0 {
		t.Fatalf("status %d", status)
	}
	controls := regexp.MustCompile(`(?:post|get)\(mux, "([a-z_]+)"`).FindAllStringSubmatch(string(source), -1)
	if len(controls) < 10 {
		t.Fatalf("found %q", controls)
	}
	for _, control := range controls {
		if !strings.Contains(help.String(), " /control/"+control[1]+" ") {
			t.Errorf("/control/%s is missing", control[1])
		}
	}
}

func TestRefusesWrongArguments(t *testing.T) {
	for _, tt := range []struct {
		args   []string
		status int
	}{
		{[]string{"--help"}, 0}, {[]string{"--nonsense"}, 2}, {[]string{"extra"}, 2}, {[]string{"--addr", "nowhere:x"}, 1},
		{[]string{"--addr", "127.0.0.1:0", "--addr-file", filepath.Join(t.TempDir(), "no", "such")}, 1},
	} {
		var stdout, stderr bytes.Buffer
		if got := run(tt.args, &stdout, &stderr); got != tt.status || stderr.Len() == 0 || stdout.Len() != 0 {
			t.Errorf("%v: %d, %q", tt.args, got, stderr.String())
		}
	}
}
