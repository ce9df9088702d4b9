package gateway

import (
	"cmp"
	"time"

	"go.uber.org/zap"

	"telecodex.dev/services/internal/checkup"
	"telecodex.dev/services/internal/quota"
	"telecodex.dev/services/internal/rpc"
)

// Bounds of the operator API: of one client, and of a request in bytes. No message
// of it is large.
const (
	operatorRate    = 1000
	operatorOpen    = 256
	operatorMessage = 64 << 10
)

func applyClientNames(r *rawConfig, value string) (err error) {
	r.Access.TLS.ClientNames, err = splitList(value)
	return err
}

// checkAccess judges the settings of TLS and tokens as a whole.
func (r *rawConfig) checkAccess() error {
	if err := r.Access.Check(r.ListenAddr, r.MetricsAddr); err != nil {
		return err
	}
	return r.WorkerAccess.Check(r.targets())
}

// targets are the workers that are dialed over a network.
func (c Config) targets() []string {
	switch {
	case c.OrchestratorMode == ModeDefault, c.Dialer != nil:
		return nil
	case c.OrchestratorAddrs == nil:
		return []string{DefaultOrchestratorAddr}
	}
	return c.OrchestratorAddrs
}

// CheckAccess says which setting names a file of TLS or tokens that cannot be used.
func (c Config) CheckAccess() error {
	if _, err := c.Access.Options(zap.NewNop()); err != nil {
		return err
	}
	_, err := c.dial(zap.NewNop())
	return err
}

// dial is how workers are called. One in the caller's own process knows who calls.
func (c Config) dial(log *zap.Logger) (rpc.DialOptions, error) {
	if c.targets() == nil {
		return rpc.DialOptions{Dialer: c.Dialer}, nil
	}
	return c.WorkerAccess.Options(log)
}

// operatorOptions are what the operator API's server is made from.
func (c Config) operatorOptions(log *zap.Logger) (rpc.ServerOptions, error) {
	o, err := c.Access.Options(log)
	o.MaxMessage = operatorMessage
	o.Limits = quota.Limits{Rate: operatorRate, Open: operatorOpen}
	return o, err
}

// lookAtAccess looks at the files of TLS and tokens.
func (c Config) lookAtAccess() []checkup.Finding {
	found := c.Access.Examine(cmp.Or(c.ListenAddr, c.MetricsAddr), time.Now())
	if c.OrchestratorAddrs == nil {
		return found // where a worker in the same process is meant, nothing is dialed
	}
	return append(found, c.WorkerAccess.Examine(c.targets(), time.Now())...)
}
