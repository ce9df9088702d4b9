// Package check holds the dashboard against Grafana's own types, strictly: what
// Grafana does not know it would leave out of a panel without a word.
package check
