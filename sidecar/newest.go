package sidecar

import (
	"container/list"
	"net"
	"sync"
)

// ownConnections is how many connections each of the sidecar's own ports has at most. A kubelet opens one for each probe.
const ownConnections = 256

// newest is a listener of one of the sidecar's own ports, which whoever reaches the pod can reach. For each connection beyond ownConnections, the one
// that came first is closed: to turn away those who come would let idle ones keep the kubelet out.
type newest struct {
	net.Listener
	mu   sync.Mutex
	open list.List // of *guest, the one that came first in front
}

// guest is a connection that newest knows of until it is closed.
type guest struct {
	net.Conn
	host *newest
	at   *list.Element
}

// Accept returns the next connection.
func (n *newest) Accept() (net.Conn, error) {
	conn, err := n.Listener.Accept()
	if err != nil {
		return nil, err
	}
	g := &guest{Conn: conn, host: n}
	if first := n.enter(g); first != nil {
		_ = first.Close() // whoever it was has been here longest
	}
	return g, nil
}

// enter returns who has to go for it, or nil.
func (n *newest) enter(g *guest) (first *guest) {
	n.mu.Lock()
	defer n.mu.Unlock()
	g.at = n.open.PushBack(g)
	if n.open.Len() <= ownConnections {
		return nil
	}
	return n.open.Front().Value.(*guest) //nolint:forcetypeassert // it holds nothing else
}

// Close closes the connection, and forgets it.
func (g *guest) Close() error {
	g.host.mu.Lock()
	g.host.open.Remove(g.at)
	g.host.mu.Unlock()
	return g.Conn.Close()
}
