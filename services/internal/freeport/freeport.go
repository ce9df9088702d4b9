// Package freeport names ports of loopback for the programs of tests that are told
// theirs before they start.
//
// A port that the system chose for a listener that is closed again will not do: it may
// choose the same one for the next, or for a connection that somebody opens.
package freeport

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync/atomic"
)

// The ports lie beneath those that systems choose by themselves: Linux from 32768 on,
// others from 49152 (RFC 6335, section 6).
const (
	first = 10_000
	count = 22_000
)

// next begins anywhere, so that test binaries that run side by side do not meet.
var next atomic.Uint32

func init() { next.Store(rand.Uint32N(count)) }

// Take returns a port on which nobody listens at 127.0.0.1, and no port twice.
func Take() (int, error) {
	var err error
	for range 100 {
		port := first + int(next.Add(1)%count)
		var listener net.Listener
		if listener, err = net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port)); err == nil {
			return port, listener.Close()
		}
	}
	return 0, fmt.Errorf("no free port: %w", err)
}

// Addr is the same as host:port.
func Addr() (string, error) {
	port, err := Take()
	return "127.0.0.1:" + strconv.Itoa(port), err
}
