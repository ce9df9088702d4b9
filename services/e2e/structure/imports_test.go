package structure

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// Libraries, by the beginning of their import paths.
const (
	gen        = "telecodex.dev/gen/"
	protobuf   = "google.golang.org/protobuf/"
	grpc       = "google.golang.org/grpc"
	errdetails = "google.golang.org/genproto/googleapis/rpc/"
	zap        = "go.uber.org/zap"
	uuid       = "github.com/google/uuid"
	prometheus = "github.com/prometheus/client_golang/"
	sqlite     = "modernc.org/sqlite"
	otel       = "go.opentelemetry.io/otel"
	xsync      = "golang.org/x/sync/"
	xsys       = "golang.org/x/sys/"
	xterm      = "golang.org/x/term"
	xtime      = "golang.org/x/time/"
	pgx        = "github.com/jackc/pgx/"
)

// Packages that every service may use, by their paths within the module.
const (
	bearer     = "internal/bearer"
	checkup    = "internal/checkup"
	command    = "internal/command"
	crashpoint = "internal/crashpoint"
	diskfile   = "internal/diskfile"
	health     = "internal/health"
	lifecycle  = "internal/lifecycle"
	logging    = "internal/logging"
	metrics    = "internal/metrics"
	profiling  = "internal/profiling"
	tracing    = "internal/tracing"
	mtls       = "internal/mtls"
	quota      = "internal/quota"
	refusal    = "internal/refusal"
	reload     = "internal/reload"
	rpc        = "internal/rpc"
	sqldb      = "internal/sqldb"
)

// allowed says what each package may import beyond the standard library. A
// package within the module is named exactly, a library by its beginning. The
// table is the architecture: a new row or word in it is a decision.
func allowed() map[string][]string {
	const g, o, smoke = "gateway/internal/", "orchestrator/internal/", "telecodex/internal/smoke"
	return map[string][]string{
		// Shared by the services.
		checkup:    {xsys},
		command:    {},
		crashpoint: {},
		diskfile:   {xsys},
		health:     {grpc, command, lifecycle, rpc},
		lifecycle:  {xsync},
		refusal:    {gen, protobuf, lifecycle},
		logging:    {zap},
		metrics:    {prometheus, lifecycle, rpc},
		profiling:  {lifecycle, rpc},
		tracing:    {otel, grpc, zap},
		reload:     {zap},
		mtls:       {grpc, zap, xtime, checkup, reload},
		bearer:     {grpc, zap, reload},
		quota:      {xtime},
		rpc:        {gen, protobuf, grpc, errdetails, zap, xtime, bearer, checkup, mtls, quota},
		sqldb:      {sqlite, pgx, diskfile},

		// The worker: proctree and journal at the bottom, the gRPC edge on top.
		o + "proctree": {xsys},
		o + "statedir": {uuid, diskfile},
		o + "archive":  {o + "codex"},
		o + "codex":    {gen, protobuf, uuid, o + "proctree"},
		o + "journal":  {gen, protobuf, uuid, sqldb},
		o + "meters":   {gen, protobuf, prometheus, metrics, rpc},
		o + "turn":     {gen, protobuf, zap, crashpoint, tracing, o + "codex", o + "journal", o + "meters"},
		o + "server":   {gen, protobuf, grpc, uuid, crashpoint, rpc, sqldb, tracing, o + "codex", o + "journal", o + "meters", o + "turn"},
		"orchestrator": {gen, protobuf, grpc, uuid, zap, xterm, quota, checkup, command, crashpoint, diskfile, health, lifecycle, logging, metrics, profiling, refusal, rpc, sqldb, tracing,
			o + "archive", o + "codex", o + "journal", o + "meters", o + "proctree", o + "server", o + "statedir", o + "turn"},
		"orchestrator/cmd/orchestrator":      {"orchestrator", lifecycle},
		"orchestrator/cmd/telecodex-contain": {o + "proctree"},

		// The gateway: pure packages and clients at the bottom, the edges above.
		g + "admission": {},
		g + "botapi":    {},
		g + "lane":      {},
		g + "render":    {gen},
		g + "store":     {uuid, zap, sqldb},
		g + "cycle":     {gen, protobuf, g + "store"},
		g + "heartbeat": {gen, zap, g + "cycle"},
		g + "workers":   {gen, grpc, zap, lifecycle, rpc},
		g + "meters":    {gen, prometheus, metrics, rpc, g + "cycle", g + "store", g + "workers"},
		g + "delivery":  {zap, crashpoint, lifecycle, tracing, g + "admission", g + "botapi", g + "cycle", g + "meters", g + "store"},
		g + "poller":    {zap, crashpoint, diskfile, tracing, g + "admission", g + "botapi", g + "cycle", g + "meters", g + "store"},
		g + "dispatch": {gen, protobuf, grpc, zap, xsync, crashpoint, lifecycle, rpc, tracing,
			g + "admission", g + "cycle", g + "lane", g + "meters", g + "render", g + "store", g + "workers"},
		g + "operator": {gen, protobuf, grpc, rpc, g + "cycle", g + "store", g + "workers"},
		"gateway": {gen, protobuf, uuid, zap, quota, checkup, command, crashpoint, health, lifecycle, logging, metrics, profiling, refusal, rpc, sqldb, tracing,
			g + "admission", g + "botapi", g + "cycle", g + "delivery", g + "dispatch", g + "heartbeat", g + "meters", g + "operator", g + "poller", g + "store", g + "workers"},
		"gateway/cmd/gateway": {"gateway", lifecycle},

		// Both in one process; bufconn is the connection between them.
		"telecodex": {grpc + "/test/bufconn", zap, xterm, checkup, command, lifecycle, logging, refusal, "gateway", "orchestrator",
			"internal/codexsim", "internal/telegramsim", smoke, smoke + "/protocol"},
		smoke:                     {lifecycle, "gateway", "internal/telegramsim", smoke + "/evidence", smoke + "/protocol"},
		smoke + "/evidence":       {},
		smoke + "/protocol":       {},
		"telecodex/cmd/telecodex": {"telecodex", "orchestrator", lifecycle},

		// Stand-ins for the world outside; they know nothing of the services.
		"internal/codexsim":                     {},
		"internal/codexsim/cmd/fakecodex":       {"internal/codexsim"},
		"internal/telegramsim":                  {},
		"internal/telegramsim/cmd/faketelegram": {"internal/telegramsim", lifecycle},
		"internal/pgtest":                       {pgx, "internal/freeport"},
		"internal/certtest":                     {},
		"internal/freeport":                     {},
		"internal/bound":                        {},
		g + "store/storetest":                   {sqldb},

		// Tests and what they use. Those of e2e see binaries and the contract only.
		"internal/bundle":                    {lifecycle},
		"internal/bundle/cmd/bundle":         {"internal/bundle", lifecycle},
		"internal/testreport":                {lifecycle},
		"internal/testreport/cmd/testreport": {"internal/testreport", lifecycle},
		"e2e":                                {},
		"e2e/bench":                          {},
		"e2e/chaos":                          {gen, grpc, xsync, crashpoint, "e2e/internal/harness", "internal/codexsim", "internal/telegramsim"},
		"e2e/conformance":                    {},
		"e2e/compose":                        {},
		"e2e/docs":                           {},
		"e2e/observe":                        {},
		"e2e/smoke":                          {},
		"e2e/structure":                      {},
		"e2e/real":                           {},
		"e2e/reports":                        {},
		"e2e/internal/harness":               {grpc, "go.uber.org/goleak", "internal/freeport"},
		"e2e/internal/responses":             {},
	}
}

func TestImportsFollowTheTable(t *testing.T) {
	table := allowed()
	seen := map[string]bool{}
	for _, p := range packages(t) {
		rules, known := table[p.path()]
		if !known {
			t.Errorf("%s is not in the table", p.path())
			continue
		}
		seen[p.path()] = true
		for _, imported := range p.Imports {
			if !standard(imported) && !permitted(rules, imported) {
				t.Errorf("%s must not import %s", p.path(), imported)
			}
		}
	}
	for _, path := range slices.Sorted(maps.Keys(table)) {
		if !seen[path] {
			t.Errorf("the table knows %s, which is not there", path)
		}
	}
}

func permitted(rules []string, imported string) bool {
	local, inside := strings.CutPrefix(imported, module)
	return slices.ContainsFunc(rules, func(rule string) bool {
		if inside {
			return rule == local
		}
		return imported == rule || strings.HasPrefix(imported, strings.TrimSuffix(rule, "/")+"/")
	})
}

// standard reports whether a path is of the standard library: its first element
// has no dot.
func standard(imported string) bool {
	first, _, _ := strings.Cut(imported, "/")
	return !strings.Contains(first, ".")
}

// Tests may use more than the code they test, but not the other service, and
// those of e2e nothing from inside.
func TestImportsOfTestsStayOutside(t *testing.T) {
	forbidden := map[string][]string{
		"gateway":      {"orchestrator", "telecodex", "e2e"},
		"orchestrator": {"gateway", "telecodex", "e2e"},
		"telecodex":    {"gateway/internal", "orchestrator/internal", "e2e"},
		"internal":     {"gateway", "orchestrator", "telecodex", "e2e"},
		"e2e":          {"gateway", "orchestrator", "telecodex"}, // it sees programs and the contract
	}
	for _, p := range packages(t) {
		part, _, _ := strings.Cut(p.path(), "/")
		for _, imported := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			local, inside := strings.CutPrefix(imported, module)
			if !inside {
				continue
			}
			for _, other := range forbidden[part] {
				if local == other || strings.HasPrefix(local, other+"/") {
					t.Errorf("%s must not import %s", p.path(), local)
				}
			}
		}
	}
}
