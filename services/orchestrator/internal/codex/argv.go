package codex

// Argv is the command line of a turn, without argv[0]. The order matters: Codex
// refuses --ask-for-approval behind exec, and -C and --sandbox behind resume. The
// prompt comes on stdin ("-"): as an argument, one that reads `review` would be a
// subcommand.
func Argv(r Request) []string {
	var argv []string
	if r.Approval != "" {
		argv = append(argv, "--ask-for-approval", r.Approval)
	}
	argv = append(argv, "exec", "--json", "--skip-git-repo-check", "--sandbox", r.Sandbox, "-C", r.Dir)
	if r.Model != "" {
		argv = append(argv, "-m", r.Model)
	}
	if r.ThreadID != "" {
		argv = append(argv, "resume", r.ThreadID)
	}
	return append(argv, "-")
}
