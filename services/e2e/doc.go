// Package e2e runs the programs as people run them: processes of their own, real
// connections, a Telegram simulator on one side and a scripted Codex on the
// other. It sees only what a person, an operator or a client sees.
package e2e
