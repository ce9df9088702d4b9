//go:build compose

package compose_test

import (
	"context"
	"encoding/json"
	"math"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// prometheusProgram is Debian's: on the PATH, or where .ci/run puts it.
func prometheusProgram(t *testing.T) string {
	t.Helper()
	if path, err := exec.LookPath("prometheus"); err == nil {
		return path
	}
	path, err := filepath.Abs(filepath.Join(root, ".tools", "prometheus"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Skip("SKIPPED, NOT TESTED: prometheus is not there; .ci/run gets it from the package prometheus")
	}
	return path
}

// prometheusImage makes an image as the public one is, from the program of this
// machine and the libraries it is linked to: its user is nobody, and owns /prometheus.
// Without a command it does nothing, and so stands in for Grafana, too.
func prometheusImage(t *testing.T) string {
	t.Helper()
	rootfs := newRootfs(t)
	rootfs.program(prometheusProgram(t), "/bin/prometheus")
	rootfs.dir("prometheus")
	return rootfs.image("telecodex-test-prometheus", 65534, `ENTRYPOINT ["/bin/prometheus"]`, "USER 65534:65534",
		`CMD ["--config.file=/dev/null", "--storage.tsdb.path=/prometheus"]`)
}

// prometheus is its HTTP API.
type prometheus struct {
	t   *testing.T
	url string
}

// get decodes what the API has at a path; false: it has nothing now.
func (p prometheus) get(path string, query url.Values, data any) bool {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+"/api/v1/"+path+"?"+query.Encode(), nil)
	if err != nil {
		p.t.Fatal(err)
	}
	response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	answer := struct {
		Status, Error string
		Data          any
	}{Data: data}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return false
	}
	if answer.Status != "success" {
		p.t.Fatalf("%s %v: %s", path, query, answer.Error)
	}
	return true
}

// sample is one series of an answer, now.
type sample struct {
	labels map[string]string
	value  float64
}

// query evaluates an expression now. What is not a number is left out: no panel
// draws it.
func (p prometheus) query(expression string) (samples []sample) {
	p.t.Helper()
	var data struct {
		Result []struct {
			Metric map[string]string
			Value  [2]any
		}
	}
	if !p.get("query", url.Values{"query": {expression}}, &data) {
		return nil
	}
	for _, series := range data.Result {
		text, _ := series.Value[1].(string)
		value, err := strconv.ParseFloat(text, 64)
		if err != nil {
			p.t.Fatalf("%s: %v", expression, err)
		}
		if !math.IsNaN(value) && !math.IsInf(value, 0) {
			samples = append(samples, sample{series.Metric, value})
		}
	}
	return samples
}

// targets are the addresses that are scraped well, by job.
func (p prometheus) targets() map[string]int {
	p.t.Helper()
	var data struct {
		ActiveTargets []struct {
			Labels map[string]string
			Health string
		}
	}
	well := map[string]int{}
	if p.get("targets", url.Values{"state": {"active"}}, &data) {
		for _, target := range data.ActiveTargets {
			if target.Health == "up" {
				well[target.Labels["job"]]++
			}
		}
	}
	return well
}

// rules are the alerts that are loaded, each with its health and state.
func (p prometheus) rules() map[string]string {
	p.t.Helper()
	var data struct {
		Groups []struct {
			Rules []struct{ Name, Health, State, LastError string }
		}
	}
	rules := map[string]string{}
	if p.get("rules", url.Values{"type": {"alert"}}, &data) {
		for _, group := range data.Groups {
			for _, rule := range group.Rules {
				rules[rule.Name] = strings.TrimSpace(rule.Health + " " + rule.State + " " + rule.LastError)
			}
		}
	}
	return rules
}
