package bench

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// instant is a Codex that answers at once, as a script. What is measured with it
// is the bridge, and what every program costs to start: the scripted Codex is a
// program in Go, whose runtime takes several milliseconds of processor time to
// begin with, more than all the rest of an update.
const instant = `#!/bin/sh
case $1 in --version)
	echo 'codex-cli 0.169.0'
	exit
	;;
esac
thread=
while [ $# -gt 0 ]; do
	[ "$1" = resume ] && thread=$2
	shift
done
prompt=
while IFS= read -r line || [ -n "$line" ]; do
	prompt="$prompt$line"
done
[ -n "$thread" ] || read -r thread </proc/sys/kernel/random/uuid
printf '%s\n' "{\"type\":\"thread.started\",\"thread_id\":\"$thread\"}" '{"type":"turn.started"}' \
	"{\"type\":\"item.completed\",\"item\":{\"id\":\"item_0\",\"type\":\"agent_message\",\"text\":\"You said: $prompt\"}}" \
	'{"type":"turn.completed","usage":{"input_tokens":10,"cached_input_tokens":5,"output_tokens":3}}'
`

// eachInstant measures with every Codex that answers at once: the script, and
// beside it the scripted Codex.
func eachInstant(b *testing.B, measure func(b *testing.B, codex string)) {
	b.Run("codex=script", func(b *testing.B) {
		if _, err := os.Stat("/proc/sys/kernel/random/uuid"); err != nil {
			b.Skip("the script takes its thread ids from Linux")
		}
		if _, err := exec.LookPath("/bin/sh"); err != nil {
			b.Skip("there is no shell")
		}
		path := filepath.Join(b.TempDir(), "codex")
		if err := os.WriteFile(path, []byte(instant), 0o755); err != nil {
			b.Fatal(err)
		}
		measure(b, path)
	})
	b.Run("codex=fakecodex", func(b *testing.B) { measure(b, "") })
}
