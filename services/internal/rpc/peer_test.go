package rpc_test

import (
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
)

// peerOf takes note of the server of a call.
type peerOf struct{ peer.Peer }

func (p *peerOf) option() grpc.CallOption { return grpc.Peer(&p.Peer) }

func (p *peerOf) serial(t *testing.T) string {
	t.Helper()
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok {
		t.Fatalf("no TLS: %v", p.AuthInfo)
	}
	return info.State.PeerCertificates[0].SerialNumber.String()
}
