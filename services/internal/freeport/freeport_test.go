package freeport_test

import (
	"net"
	"testing"

	"telecodex.dev/services/internal/freeport"
)

func TestNoPortIsNamedTwiceAndNobodyHasIt(t *testing.T) {
	given := map[string]bool{}
	var open []net.Listener
	for i := range 300 {
		addr, err := freeport.Addr()
		if err != nil {
			t.Fatal(err)
		}
		if given[addr] {
			t.Fatalf("%s was named before", addr)
		}
		given[addr] = true
		if i%10 != 0 {
			continue // that one is not begun to be used yet
		}
		l, err := net.Listen("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, l)
	}
	for _, l := range open {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
}
