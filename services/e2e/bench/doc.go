// Package bench measures the whole system from outside: the built gateway and
// orchestrator, each in a process of its own, between a Bot API simulator and the
// scripted Codex. Its figures are printed next to what the project promises, and
// never asserted: a busy machine is no failure.
package bench
