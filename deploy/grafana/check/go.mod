// The test of the dashboard. A module of its own, outside go.work: nothing of
// Telecodex depends on Grafana's types.
module telecodex.dev/deploy/grafana/check

go 1.26.7

require github.com/grafana/grafana-foundation-sdk/go v0.0.22
