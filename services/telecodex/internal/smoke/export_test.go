package smoke

// SabotageWith lets a test change a cycle's environment after its injection.
func (o *Options) SabotageWith(tamper func(cycle string, env map[string]string)) { o.tamper = tamper }

// Preflight are the lines about tools and secrets for an environment.
func Preflight(environ []string) []string { return preflight(newEnvironment(environ)) }
