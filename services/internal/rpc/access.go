package rpc

import (
	"crypto/tls"
	"fmt"
	"time"

	"go.uber.org/zap"

	"telecodex.dev/services/internal/bearer"
	"telecodex.dev/services/internal/checkup"
	"telecodex.dev/services/internal/mtls"
)

// ServerAccess says who may call a server, as its settings do. The zero value lets
// in everybody who reaches it.
type ServerAccess struct {
	Prefix       string // of the settings' names, for errors: "ORCHESTRATOR_"
	TLS          mtls.ServerFiles
	TokenFile    string // tokens that calls must show, one a line; empty: none
	NoReflection bool
	Insecure     bool // what has no TLS may be reached from other machines
}

// Check says what is wrong among the settings of a server that listens at addr
// (empty: nowhere) and shows metrics at metricsAddr. It looks at no file.
func (a ServerAccess) Check(addr, metricsAddr string) error {
	if err := a.tls().Check(); err != nil {
		return err
	}
	for _, address := range []string{addr, metricsAddr} {
		if address == "" {
			continue
		}
		if err := CheckPlaintext(address, a.Prefix, a.Insecure || a.TLS.Enabled()); err != nil {
			return err
		}
	}
	if a.TokenFile != "" && addr != "" && !a.TLS.Enabled() && !Local(addr) {
		return fmt.Errorf("%s is given, but callers show no token in the clear: give %sTLS_CERT_FILE too, or listen on 127.0.0.1 or unix://path", a.tokenSetting(), a.Prefix)
	}
	return nil
}

func (a ServerAccess) tokenSetting() string { return a.Prefix + "AUTH_TOKEN_FILE" }

func (a ServerAccess) tls() mtls.ServerFiles {
	a.TLS.Setting = a.Prefix + "TLS_"
	return a.TLS
}

// Options reads the files. Its errors name the setting at fault.
func (a ServerAccess) Options(log *zap.Logger) (o ServerOptions, err error) {
	o = ServerOptions{Log: log, NoReflection: a.NoReflection}
	if a.TLS.Enabled() {
		if o.TLS, err = mtls.NewServer(log, a.tls()); err != nil {
			return o, err
		}
	}
	if a.TokenFile != "" {
		o.Tokens, err = bearer.NewAccepted(log, a.tokenSetting(), a.TokenFile)
	}
	return o, err
}

// Metrics is the TLS of the metrics' address: plaintext (nil) where it does not leave
// the machine or may be read on the way, else that of the server. Who scrapes shows
// no certificate.
func (a ServerAccess) Metrics(addr string, o ServerOptions) *tls.Config {
	if o.TLS == nil || a.Insecure || Local(addr) {
		return nil
	}
	return o.TLS.HTTP()
}

// Self is how who has the server's own files calls it.
func (a ServerAccess) Self() (o DialOptions, err error) {
	if a.TLS.Enabled() {
		if o.TLS, err = mtls.NewSelf(a.tls()); err != nil {
			return o, err
		}
	}
	if a.TokenFile != "" {
		o.Token, err = bearer.NewShown(zap.NewNop(), a.tokenSetting(), a.TokenFile)
	}
	return o, err
}

// Examine looks at the files, for an operator.
func (a ServerAccess) Examine(addr string, now time.Time) []checkup.Finding {
	found := a.tls().Examine("tls", now)
	if a.TokenFile != "" {
		_, err := bearer.NewAccepted(zap.NewNop(), a.tokenSetting(), a.TokenFile)
		found = append(found, examineToken("auth token", a.TokenFile, err))
	}
	if a.Insecure && addr != "" && !a.TLS.Enabled() && !Local(addr) {
		found = append(found, checkup.Doubtful("tls", "none at "+addr+": who is on the network can read and call, "+a.Prefix+"INSECURE says that this is meant",
			"give "+a.Prefix+"TLS_CERT_FILE, _KEY_FILE and _CLIENT_CA_FILE (docs/SECURITY.md), or keep others off that network"))
	}
	return found
}

func examineToken(name, path string, err error) checkup.Finding {
	if err != nil {
		return checkup.Broken(name, err.Error(), "put a token into "+path+", or name another file")
	}
	if open := checkup.Secret(name, path); open != nil {
		return open[0]
	}
	return checkup.Well(name, "%s holds one", path)
}

// ClientAccess says how a client shows who it is, as its settings do.
type ClientAccess struct {
	Prefix    string // as in ServerAccess: "CHANNEL_ORCHESTRATOR_"
	TLS       mtls.ClientFiles
	TokenFile string // whose first token is shown; empty: none
}

// Check says what is wrong among the settings of a client of targets. It looks at no
// file.
func (a ClientAccess) Check(targets []string) error {
	if err := a.tls().Check(); err != nil {
		return err
	}
	for _, target := range targets {
		if a.TokenFile != "" && !a.TLS.Enabled() && !Local(target) {
			return fmt.Errorf("%s: %w: give %sTLS_CA_FILE", a.tokenSetting(), &TokenError{Target: target}, a.Prefix)
		}
	}
	return nil
}

func (a ClientAccess) tokenSetting() string { return a.Prefix + "AUTH_TOKEN_FILE" }

func (a ClientAccess) tls() mtls.ClientFiles {
	a.TLS.Setting = a.Prefix + "TLS_"
	return a.TLS
}

// Options reads the files. Its errors name the setting at fault.
func (a ClientAccess) Options(log *zap.Logger) (o DialOptions, err error) {
	if a.TLS.Enabled() {
		if o.TLS, err = mtls.NewClient(log, a.tls()); err != nil {
			return o, err
		}
	}
	if a.TokenFile != "" {
		o.Token, err = bearer.NewShown(log, a.tokenSetting(), a.TokenFile)
	}
	return o, err
}

// Examine looks at the files, for an operator, and at what crosses a network to the
// targets.
func (a ClientAccess) Examine(targets []string, now time.Time) []checkup.Finding {
	found := a.tls().Examine("worker tls", now)
	if a.TokenFile != "" {
		_, err := bearer.NewShown(zap.NewNop(), a.tokenSetting(), a.TokenFile)
		found = append(found, examineToken("worker auth token", a.TokenFile, err))
	}
	for _, target := range targets {
		if !a.TLS.Enabled() && !Local(target) {
			return append(found, checkup.Doubtful("worker tls", "prompts and answers cross the network to "+target+" in the clear",
				"give "+a.Prefix+"TLS_CA_FILE, and a certificate to the worker (docs/SECURITY.md), or keep others off that network"))
		}
	}
	return found
}
