package responses

import (
	"fmt"
	"os"
	"path/filepath"
)

// KeyVariable is the environment variable in which Codex looks for Key, once WriteHome has told it so.
const KeyVariable = "SCRIPTED_PROVIDER_KEY"

// The settings without which Codex would call home (plugins, analytics), hide the plan tool, or hand its own environment to
// every command. The model must be one of Codex's built-in catalogue, or each thread begins with a complaint about it.
const config = `model = "gpt-5.5"
model_provider = "scripted"
approval_policy = "never"

[model_providers.scripted]
name = "scripted"
base_url = %q
wire_api = "responses"
env_key = %q
request_max_retries = 1
stream_max_retries = 1

[shell_environment_policy]
inherit = "core"

[features]
plugins = false

[analytics]
enabled = false

[tools.update_plan]
enabled = true
`

// WriteHome makes dir a CODEX_HOME that knows this provider alone. It should not lie beneath the temporary directory: Codex
// warns about such homes.
func (p *Provider) WriteHome(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("codex home: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.toml"), []byte(p.Config()), 0o600); err != nil {
		return fmt.Errorf("codex home: %w", err)
	}
	return nil
}

// Config is the config.toml of such a CODEX_HOME.
func (p *Provider) Config() string { return fmt.Sprintf(config, p.URL(), KeyVariable) }
