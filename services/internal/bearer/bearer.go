// Package bearer is the token that a caller may have to show beside its
// certificate, or instead of one on a connection that does not leave the machine.
// It lies in a file, one on each line, so that an old one is accepted while callers
// change to the new one. Of the tokens a server accepts it holds digests only.
package bearer

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"strings"

	"go.uber.org/zap"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"

	"telecodex.dev/services/internal/reload"
)

const (
	header = "authorization"
	scheme = "Bearer "

	minToken  = 20 // characters: none that can be guessed
	maxToken  = 4096
	maxTokens = 16
)

// Accepted are the tokens a server accepts.
type Accepted struct {
	files *reload.Files[[][sha256.Size]byte]
}

// NewAccepted reads the file that a setting names. Its errors name the setting.
func NewAccepted(log *zap.Logger, setting, path string) (*Accepted, error) {
	parse := func(contents [][]byte) (digests [][sha256.Size]byte, err error) {
		tokens, err := tokensOf(setting, contents[0])
		for _, token := range tokens {
			digests = append(digests, sha256.Sum256([]byte(token)))
		}
		return digests, err
	}
	files, err := reload.Open(log, parse, reload.File{Setting: setting, Path: path})
	return &Accepted{files}, err
}

// Holds says whether a call's metadata has one of the tokens. How long it takes says
// nothing about them.
func (a *Accepted) Holds(md metadata.MD) bool {
	held := 0
	for _, value := range md.Get(header) {
		token, ok := strings.CutPrefix(value, scheme)
		if !ok {
			continue
		}
		shown := sha256.Sum256([]byte(token))
		for _, digest := range a.files.Get() {
			held |= subtle.ConstantTimeCompare(shown[:], digest[:])
		}
	}
	return held == 1
}

// Shown is the token a client shows: the first one of its file.
type Shown struct {
	files *reload.Files[string]
}

// NewShown reads the file that a setting names. Its errors name the setting.
func NewShown(log *zap.Logger, setting, path string) (*Shown, error) {
	parse := func(contents [][]byte) (string, error) {
		tokens, err := tokensOf(setting, contents[0])
		if err != nil {
			return "", err
		}
		return scheme + tokens[0], nil
	}
	files, err := reload.Open(log, parse, reload.File{Setting: setting, Path: path})
	return &Shown{files}, err
}

// Credentials show the token with each call, over TLS alone unless local says that
// the connection does not leave the machine.
func (s *Shown) Credentials(local bool) credentials.PerRPCCredentials { return shown{s, local} }

type shown struct {
	*Shown
	local bool
}

func (s shown) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{header: s.files.Get()}, nil
}

func (s shown) RequireTransportSecurity() bool { return !s.local }

// tokensOf reads a file of tokens. Its errors do not quote it.
func tokensOf(setting string, text []byte) (tokens []string, err error) {
	for line := range strings.Lines(string(text)) {
		token := strings.TrimSpace(line)
		switch {
		case token == "":
			continue
		case len(token) < minToken || len(token) > maxToken:
			return nil, fmt.Errorf("%s: a token must have %d to %d characters: `openssl rand -hex 32` makes one", setting, minToken, maxToken)
		case strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }):
			return nil, fmt.Errorf("%s: a token must be of printable ASCII, without spaces, one on a line", setting)
		}
		tokens = append(tokens, token)
	}
	switch {
	case len(tokens) == 0:
		return nil, errors.New(setting + ": the file holds no token: `openssl rand -hex 32` makes one")
	case len(tokens) > maxTokens:
		return nil, fmt.Errorf("%s: the file holds more than %d tokens", setting, maxTokens)
	}
	return tokens, nil
}
