// Package reports holds what the gateway says about its work, looked at from
// outside: the report of a cycle on standard output, the events of its
// heartbeat, and the same through its operator API.
package reports
