// Package docs runs the command lines that the documents show: every line of
// every sh block of README.md and docs/, those in the background and as another
// user too. A line that no test runs is a failure, so that no document promises what
// does not work; the few that are run elsewhere stand in a table that says where.
package docs
