package rpc

import (
	"context"
	"errors"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/stats"
)

const (
	// maxConnections is how many one address may have. A gateway has one to each
	// worker.
	maxConnections = 256
	// maxRefusals is how many refused calls end a connection: grpc-go keeps the
	// context of each until then.
	maxRefusals = 1000
)

// door is a listener that bounds how many connections come from one address, and
// knows which have not said yet what they want.
type door struct {
	net.Listener
	mu     sync.Mutex
	open   map[string]int
	silent map[*connection]struct{}
	shut   bool
}

func newDoor(lis net.Listener) *door {
	return &door{Listener: lis, open: map[string]int{}, silent: map[*connection]struct{}{}}
}

func (d *door) Accept() (net.Conn, error) {
	for {
		conn, err := d.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from := hostOf(conn.RemoteAddr())
		c := &connection{Conn: conn, door: d}
		c.left = sync.OnceFunc(func() { d.leave(c, from) })
		if d.enter(c, from) {
			return c, nil
		}
		_ = conn.Close() // nobody was told that it is open
	}
}

func (d *door) enter(c *connection, from string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.shut || d.open[from] >= maxConnections {
		return false
	}
	d.open[from]++
	d.silent[c] = struct{}{}
	return true
}

func (d *door) leave(c *connection, from string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.silent, c)
	if d.open[from]--; d.open[from] <= 0 {
		delete(d.open, from)
	}
}

// endSilent lets nobody in any more, and ends the connections that are silent: grpc-go
// does not begin to stop before their handshakes have come to an end.
func (d *door) endSilent() {
	d.mu.Lock()
	d.shut = true
	silent := slices.Collect(maps.Keys(d.silent))
	d.mu.Unlock()
	for _, c := range silent {
		_ = c.Close() // its handshake sees it
	}
}

// connection can be ended by who knows its address.
type connection struct {
	net.Conn
	door    *door
	left    func()
	refused atomic.Int32
}

// spoke notes that the handshake is over.
func (c *connection) spoke() {
	c.door.mu.Lock()
	defer c.door.mu.Unlock()
	delete(c.door.silent, c)
}

func (c *connection) Close() error {
	c.left()
	return c.Conn.Close()
}

// CloseWrite ends what is sent, where the connection can do so.
func (c *connection) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// RemoteAddr is how the guard finds the connection of a call.
func (c *connection) RemoteAddr() net.Addr { return remote{c.Conn.RemoteAddr(), c} }

type remote struct {
	net.Addr
	conn *connection
}

// refusedOn counts a refused call of a connection, and ends one with too many.
func refusedOn(addr net.Addr) {
	if r, ok := addr.(remote); ok && r.conn.refused.Add(1) == maxRefusals {
		_ = r.conn.Close() // its reader sees it
	}
}

// hostOf is where a connection comes from: the address without its port, of IPv6
// the network.
func hostOf(addr net.Addr) string {
	if r, ok := addr.(remote); ok {
		addr = r.Addr
	}
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return addr.Network() // a socket of this machine, or of this process
	}
	ip := tcp.AddrPort().Addr().Unmap()
	if ip.Is6() && !ip.IsLoopback() {
		return netip.PrefixFrom(ip.WithZone(""), 64).Masked().String()
	}
	return ip.String()
}

// contexts gives the calls of a connection a context that ends with it: grpc-go
// never ends those of calls that were refused.
type contexts struct{}

type connectionKey struct{}

func (contexts) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context {
	if p, ok := peer.FromContext(ctx); ok {
		if r, ok := p.Addr.(remote); ok {
			r.conn.spoke()
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	return context.WithValue(ctx, connectionKey{}, cancel)
}

func (contexts) HandleConn(ctx context.Context, s stats.ConnStats) {
	if _, ended := s.(*stats.ConnEnd); ended {
		ctx.Value(connectionKey{}).(context.CancelFunc)()
	}
}

func (contexts) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

func (contexts) HandleRPC(context.Context, stats.RPCStats) {}
