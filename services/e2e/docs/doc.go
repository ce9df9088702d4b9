// Package docs runs the command lines that the documents show: every line of
// every sh block of README.md and docs/. A line that no test runs is a failure,
// so that no document promises what does not work.
package docs
