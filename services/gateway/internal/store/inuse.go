package store

import "telecodex.dev/services/internal/sqldb"

// InUse reports whether a live gateway holds the SQLite file at dsn. It changes
// nothing.
func InUse(dsn string) (bool, error) { return sqldb.Locked(dsn + ".lock") }
