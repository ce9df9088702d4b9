// Package health asks a service of this machine whether it serves, over the
// listener that its clients use: for containers, supervisors and people, so that
// an image needs no other program for it.
package health

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"telecodex.dev/services/internal/command"
	"telecodex.dev/services/internal/lifecycle"
	"telecodex.dev/services/internal/rpc"
)

// Word is what asks for a health check on a service's command line.
const Word = "healthcheck"

// limit is how long the service may take to answer.
const limit = 5 * time.Second

// Page describes the command of a program that listens where listen says.
func Page(program, listen string, flags []command.Flag) command.Command {
	return command.Command{
		Name:     program + " " + Word,
		Summary:  "ask the one that runs here whether it serves",
		Synopsis: []string{program + " " + Word + " [--flag value …]"},
		Description: fmt.Sprintf("Asks the %s that was started with the same flags and variables, by grpc.health.v1 at %s, and prints one line. "+
			"An answer takes %s at most.", program, listen, limit),
		Flags: flags,
		Statuses: []command.Entry{
			{Name: "0", Text: "It serves."},
			{Name: "1", Text: "It does not serve, or does not answer; the line says which."},
			{Name: "2", Text: "The command line or configuration is invalid; one line of JSON on standard output says why."},
		},
		Examples: []command.Entry{{Name: program + " " + Word, Text: "As a container's health check."}},
	}
}

// Check asks the server that listens at addr, prints one line, and returns the
// exit status. program is what the line calls the server, o how it is reached.
func Check(ctx context.Context, program, addr string, o rpc.DialOptions, stdout io.Writer) int {
	target, err := Reach(addr)
	if err == nil {
		err = ask(ctx, target, o)
	}
	line, exit := fmt.Sprintf("%s at %s serves", program, target), lifecycle.ExitOK
	if err != nil {
		line, exit = fmt.Sprintf("%s at %s does not serve: %v", program, addr, err), lifecycle.ExitFailed
	}
	if _, err := fmt.Fprintln(stdout, line); err != nil {
		return lifecycle.ExitFailed
	}
	return exit
}

// ask returns nil when the server says that it serves.
func ask(ctx context.Context, target string, o rpc.DialOptions) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	conn, err := rpc.Dial(target, o)
	if err != nil {
		return err
	}
	defer conn.Close()
	answer, err := healthv1.NewHealthClient(conn).Check(ctx, &healthv1.HealthCheckRequest{})
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("no answer within %s", limit)
	case err != nil:
		return fmt.Errorf("%s", status.Convert(err).Message())
	case answer.GetStatus() != healthv1.HealthCheckResponse_SERVING:
		return fmt.Errorf("it answers %s; it starts, drains or stops", answer.GetStatus())
	}
	return nil
}

// Reach is the address at which this machine reaches a listener at addr.
func Reach(addr string) (target string, err error) {
	if addr == "" {
		return "", fmt.Errorf("it has no listener")
	}
	if strings.HasPrefix(addr, "unix:") {
		return addr, nil
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", err
	}
	if port == "0" {
		return "", fmt.Errorf("its port is chosen by the system")
	}
	switch ip := net.ParseIP(host); {
	case host == "", ip != nil && ip.IsUnspecified() && ip.To4() != nil:
		host = "127.0.0.1"
	case ip != nil && ip.IsUnspecified():
		host = "::1"
	}
	return net.JoinHostPort(host, port), nil
}
