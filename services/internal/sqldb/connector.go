package sqldb

import (
	"context"
	"database/sql/driver"

	"modernc.org/sqlite"
)

// connector opens connections without a registered driver name, so that the
// package depends on no global state but the driver itself.
type connector struct{ dsn string }

func (c connector) Connect(context.Context) (driver.Conn, error) {
	return (&sqlite.Driver{}).Open(c.dsn)
}

func (c connector) Driver() driver.Driver { return &sqlite.Driver{} }
