package checkup

// Containment says what a worker's containment holds, and what not.
func Containment(name, kind string) Finding {
	const mend = "let the worker make namespaces (in Docker: security_opt seccomp=unconfined, systempaths=unconfined and, with AppArmor, apparmor=unconfined; kernel.unprivileged_userns_clone=1), or give it a user of its own"
	switch kind {
	case "namespace":
		return Well(name, "namespace: nothing of a turn outlives it, not even the worker's SIGKILL, and Codex sees neither the worker's state nor the gateway's")
	case "cgroup":
		return Doubtful(name, "cgroup: what a turn leaves running is killed with it, but Codex can read all that this user can, the state directories and the token file among it", mend)
	case "scan":
		return Doubtful(name, "scan: what a killed worker leaves behind runs on until its next start, and Codex can read all that this user can, the state directories and the token file among it", mend)
	case "process-group":
		return Doubtful(name, "process-group: what hides from the worker can outlive it, and Codex can read all that this user can, the state directories and the token file among it", "give the worker a user of its own, or run it on Linux")
	case "job-object":
		return Doubtful(name, "job-object: nothing of a turn outlives it, but Codex can read all that this user can, the state directories and the token file among it", "give the worker a user of its own, or run it on Linux")
	}
	return Doubtful(name, "not known: "+kind, "use an orchestrator of this release")
}
