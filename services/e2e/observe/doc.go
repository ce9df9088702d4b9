// Package observe looks at the services as those do who watch them: it scrapes
// their metrics, receives their traces and reads their logs, and holds the
// documents, rules and dashboards of the repository against what it finds.
package observe
