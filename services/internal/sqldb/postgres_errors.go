package sqldb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// serverError is what a PostgreSQL server says, without the parts that hold
// values of rows.
type serverError struct {
	code    string // https://www.postgresql.org/docs/current/errcodes-appendix.html
	message string // empty where it may hold a value
}

func (e *serverError) Error() string {
	if e.message == "" {
		return "SQLSTATE " + e.code
	}
	return fmt.Sprintf("%s (SQLSTATE %s)", e.message, e.code)
}

// wordless are the classes of errors whose messages may quote a value.
const wordless = "22 P0 XX"

func postgresError(op string, err error) *Error {
	if refused, ok := errors.AsType[*pgconn.PgError](err); ok {
		said := &serverError{code: refused.Code, message: refused.Message}
		if len(said.code) != 5 || strings.Contains(wordless, said.code[:2]) {
			said.message = ""
		}
		return &Error{op, postgresKind(refused.Code), said}
	}
	if connect, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		// It carries the configuration with the password, which its text does not.
		return &Error{op, Unavailable, errors.New(strings.Join(strings.Fields(connect.Error()), " "))}
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	if _, ok := errors.AsType[net.Error](err); ok || errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) ||
		errors.Is(err, pgconn.ErrConnClosed) || errors.Is(err, io.ErrUnexpectedEOF) || pgconn.SafeToRetry(err) {
		return &Error{op, Unavailable, err}
	}
	return nil
}

// postgresKind judges an SQLSTATE, mostly by its class.
func postgresKind(code string) Kind {
	switch code {
	case "53100": // disk_full
		return Full
	case "25006", "42501": // read_only_sql_transaction, insufficient_privilege
		return ReadOnly
	case "XX001", "XX002": // data_corrupted, index_corrupted
		return Corrupt
	case "55P03", "40001", "40P01", "57014": // lock_not_available, serialization_failure, deadlock_detected, query_canceled
		return Busy
	case "25P03", "25P04": // idle_in_transaction_session_timeout, transaction_timeout: the session is gone
		return Unavailable
	case "58030": // io_error
		return IO
	}
	if len(code) != 5 {
		return Other
	}
	switch code[:2] {
	case "08", "53", "57": // connection, resources, operator intervention
		return Unavailable
	}
	return Other
}
