package orchestrator

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"go.uber.org/zap"

	"telecodex.dev/services/internal/quota"
	"telecodex.dev/services/internal/rpc"
)

const (
	// otherCalls are what a gateway has open beside its turns: the worker's state,
	// acknowledgements.
	otherCalls = 16
	// A gateway that lost its connection calls again before the worker has noticed,
	// so that it may have each turn open twice for a while.
	spareCalls = 256

	maxRate    = 1e6
	maxStreams = 100_000
)

// CheckAccess says which setting names a file that says nothing about who may call.
// ConfigFrom looks at no disk.
func (c Config) CheckAccess() error {
	_, err := c.Access.Options(zap.NewNop())
	return err
}

// rpcOptions are what the worker's server is made from. In the caller's own
// process there is nobody else who could call.
func (c Config) rpcOptions() (rpc.ServerOptions, error) {
	log := c.Log.Named("rpc")
	if c.Listener != nil {
		return rpc.ServerOptions{Log: log, NoReflection: c.Access.NoReflection}, nil
	}
	o, err := c.Access.Options(log)
	o.Limits = quota.Limits{Rate: c.ClientRate, Open: c.ClientStreams}
	if o.Limits.Open == 0 && c.MaxTurns > 0 {
		o.Limits.Open = 2*c.MaxTurns + spareCalls
	}
	return o, err
}

// checkStreams refuses a bound that would keep a single gateway from using all of
// the worker.
func (c Config) checkStreams() error {
	if least := c.MaxTurns + otherCalls; c.ClientStreams > 0 && c.ClientStreams < least {
		return fmt.Errorf("ORCHESTRATOR_CLIENT_STREAMS (--client-streams) must be 0, or at least %d with ORCHESTRATOR_MAX_TURNS=%d: a gateway has a call open for each turn", least, c.MaxTurns)
	}
	return nil
}

func boolean(set func(*Config, bool)) func(*Config, string) error {
	return func(c *Config, value string) error {
		switch strings.ToLower(value) {
		case "1", "true", "yes", "on":
			set(c, true)
		case "0", "false", "no", "off", "":
			set(c, false)
		default:
			return errors.New("must be a boolean")
		}
		return nil
	}
}

func setClientRate(c *Config, value string) error {
	n, err := strconv.ParseFloat(value, 64)
	if err != nil || math.IsNaN(n) || n < 0 || n > maxRate {
		return fmt.Errorf("must be a number from 0 to %.0f", maxRate)
	}
	c.ClientRate = n
	return nil
}

func setClientStreams(c *Config, value string) error {
	n, err := strconv.Atoi(value)
	if err != nil || n < 0 || n > maxStreams {
		return fmt.Errorf("must be an integer from 0 to %d", maxStreams)
	}
	c.ClientStreams = n
	return nil
}
