//go:build compose

package compose_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	gatewayv1 "telecodex.dev/gen/telecodex/gateway/v1"
	"telecodex.dev/services/e2e/internal/harness"
	"telecodex.dev/services/internal/pgtest"
)

// postgresUser is whom the public image runs its server as.
const postgresUser = 999

// postgresEntry does with the settings of the public image what that does with them: on
// an empty volume it makes a cluster whose user has the password of the file, and in it
// the database, with a server that listens on no port; then it is the server.
const postgresEntry = `#!/bin/sh
set -e
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  initdb --username="$POSTGRES_USER" --pwfile="$POSTGRES_PASSWORD_FILE" $POSTGRES_INITDB_ARGS
  echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
  pg_ctl --wait -o "-c listen_addresses=''" start
  psql --username="$POSTGRES_USER" --dbname=postgres --command="CREATE DATABASE \"$POSTGRES_DB\""
  pg_ctl --wait stop
fi
exec postgres -c 'listen_addresses=*'
`

// postgresImage makes an image as the public one is, from the programs of this machine.
func postgresImage(t *testing.T) string {
	t.Helper()
	bin, err := pgtest.Programs()
	if err != nil {
		t.Skip("SKIPPED, NOT TESTED:", err)
	}
	rootfs := newRootfs(t)
	rootfs.program("/bin/sh", "/bin/sh") // initdb asks it to run the server
	for _, program := range []string{"initdb", "pg_ctl", "pg_isready", "postgres", "psql"} {
		rootfs.program(filepath.Join(bin, program), filepath.Join(bin, program))
	}
	where := func(what string) string {
		return strings.TrimSpace(must(t, nil, filepath.Join(bin, "pg_config"), what))
	}
	for _, module := range []string{"plpgsql.so", "dict_snowball.so"} { // initdb loads them
		path := filepath.Join(where("--pkglibdir"), module)
		rootfs.program(path, path)
	}
	share := where("--sharedir")
	if err := os.CopyFS(filepath.Join(rootfs.top, share), os.DirFS(share)); err != nil {
		t.Fatal(err)
	}
	rootfs.write("/etc/passwd", fmt.Appendf(nil, "postgres:x:%d:%[1]d::/var/lib/postgresql:/bin/sh\n", postgresUser), 0o644)
	rootfs.write("/bin/entry", []byte(postgresEntry), 0o755)
	rootfs.dir("tmp")
	rootfs.dir("var/run/postgresql")
	rootfs.dir("var/lib/postgresql/data")
	return rootfs.image("telecodex-test-postgres", postgresUser, `ENTRYPOINT ["/bin/entry"]`, fmt.Sprintf("USER %d:%[1]d", postgresUser),
		"ENV PATH="+bin+":/bin", "ENV PGDATA=/var/lib/postgresql/data")
}

// pair is a stack with a database and two gateways, one of which stands by.
type pair struct {
	*stack
	chat int64
	said []string
}

// serving are the containers of the gateways that serve the bot: one, or none while
// there is a change.
func (p *pair) serving() (containers []string) {
	p.t.Helper()
	for _, name := range p.containers("gateway") {
		if standby, err := p.standsBy(name); err == nil && !standby {
			containers = append(containers, name)
		}
	}
	return containers
}

// standsBy asks the gateway of a container whether it does.
func (p *pair) standsBy(container string) (bool, error) {
	port, err := command(p.t.Context(), nil, "docker", "port", container, "7451/tcp")
	if err != nil {
		return false, err
	}
	conn, err := harness.Dial(strings.TrimSpace(port))
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(p.t.Context(), 10*time.Second)
	defer cancel()
	status, err := gatewayv1.NewGatewayServiceClient(conn).GetStatus(ctx, &gatewayv1.GetStatusRequest{})
	return status.GetStandby(), errors.Join(err, conn.Close())
}

// begun is how many turns the worker has begun.
func (p *pair) begun() int {
	p.t.Helper()
	return strings.Count(must(p.t, p.env, "sh", "-c", `docker logs "$1" 2>&1`, "sh", p.containers("orchestrator")[0]), `"msg":"codex started"`)
}

// say lets the person write.
func (p *pair) say(text string) {
	p.t.Helper()
	p.said = append(p.said, text)
	p.sim.write(p.chat, "!scenario slow FAKE_CODEX_DELAY=600\n"+text)
}

// begin lets the person write, and waits until the turn runs.
func (p *pair) begin(text string) {
	p.t.Helper()
	before := p.begun()
	p.say(text)
	p.until("the turn is not begun", func() (any, bool) { n := p.begun(); return n, n > before })
}

// answered waits until the person has every answer, and holds what was sent against
// what was said: each answer once, in order, each turn run once.
func (p *pair) answered() {
	p.t.Helper()
	p.answer(p.chat, answered+p.said[len(p.said)-1])
	var got []string
	for _, message := range p.sim.messages(p.chat) {
		got = append(got, strings.TrimPrefix(message.Text, answered))
	}
	if !slices.Equal(got, p.said) || p.begun() != len(p.said) {
		p.t.Fatalf("%d turns; got\n%q\nfor\n%q", p.begun(), got, p.said)
	}
}

// The overlay with the database, as people start it: two gateways, of which one stands
// by. The one that serves is killed in the middle of a turn: the other one takes its
// place; the database is killed in the middle of a turn, and comes back; then the last
// gateway is killed, and comes back. Each time a person writes meanwhile. Every answer
// comes once, and in its order, and no turn runs twice.
func TestTheDatabaseOverlay(t *testing.T) {
	needEngine(t)
	if remains(t, demo) != "" {
		t.Fatal("the demonstration runs already: make down ends it")
	}
	telegram := freePort(t)
	p := &pair{chat: 123456789, stack: &stack{t: t, project: demo, sim: simulator{t: t, url: "http://127.0.0.1:" + telegram}, env: []string{
		"OVERLAYS=postgres", "GATEWAYS=2", "POSTGRES_IMAGE=" + postgresImage(t), "TELEGRAM_PORT=" + telegram, "GATEWAY_PORT=0", "ORCHESTRATOR_PORTS=0", "CHANNEL_TOKEN=", "CHANNEL_TOKEN_FILE="}}}
	for _, file := range []string{"compose.yaml", "compose.demo.yaml", "compose.postgres.yaml"} {
		p.files = append(p.files, "--file", filepath.Join("deploy", file))
	}
	t.Cleanup(func() { madeDown(t) })
	t.Cleanup(p.remove)
	must(t, p.env, "make", "up")
	p.begin("before anything happens")
	p.answered()

	first := p.serving()
	if all := p.containers("gateway"); len(first) != 1 || len(all) != 2 {
		t.Fatalf("of %q serve %q", all, first)
	}
	p.begin("in the middle of which the gateway is killed")
	p.kill(first...)
	died := time.Now()
	p.say("while no gateway serves")
	p.until("the other gateway does not serve", func() (any, bool) { now := p.serving(); return now, len(now) == 1 })
	t.Logf("the other gateway serves %v after the death of the first", time.Since(died))
	p.answered()

	p.begin("in the middle of which the database is killed")
	p.compose("restart", "--timeout", "0", "postgres")
	p.say("after the database was killed")
	p.answered()

	p.begin("in the middle of which the last gateway is killed")
	p.kill(p.serving()...)
	p.say("while there is no gateway")
	must(t, p.env, "make", "up")
	p.answered()

	must(t, nil, "make", "down")
	if left := remains(t, demo); left != "" {
		t.Errorf("make down left\n%s", left)
	}
	if _, err := os.Stat(filepath.Join(root, "deploy", "secrets", "demo")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("make down left the password of the demonstration: %v", err)
	}
}
