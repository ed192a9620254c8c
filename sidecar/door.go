package sidecar

import (
	"context"
	"errors"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/latchkey-dev/latchkey/internal/bundle"
	"github.com/latchkey-dev/latchkey/sidecar/http1"
)

// door is one port of the app: its listeners, and the servers for what they accept. Listeners never change; servers do, with the limits.
type door struct {
	lobby      *lobby
	listeners  []net.Listener
	newServers func(limits bundle.Limits, elsewhere func(net.Conn)) *servers
	serving    sync.WaitGroup
	accepting  sync.WaitGroup

	// Guarded by the lobby's lock.
	servers map[fitting]*servers // every one may still have connections
	now     *servers             // for those that come
	room    *room                // of now.other
}

// servers serve connections with the same limits. Both have the same handler.
type servers struct {
	plain *http1.Server // takes connections without TLS first, and hands on those with anything unusual
	other *http.Server
}

// fitting is what a server is made for.
type fitting struct {
	limits  bundle.Limits
	leaving bool
}

// room is a listener whose connections are brought to it.
type room struct {
	arrivals chan net.Conn
	closed   chan struct{}
	once     sync.Once
	address  net.Addr
}

func (r *room) Accept() (net.Conn, error) {
	select {
	case conn := <-r.arrivals:
		return conn, nil
	case <-r.closed:
		return nil, net.ErrClosed
	}
}

func (r *room) Close() error {
	r.once.Do(func() { close(r.closed) })
	return nil
}

func (r *room) Addr() net.Addr { return r.address }

// addDoor takes over listeners. Nothing is accepted before accept.
func (l *lobby) addDoor(listeners []net.Listener, newServers func(limits bundle.Limits, elsewhere func(net.Conn)) *servers) {
	d := &door{lobby: l, listeners: listeners, newServers: newServers, servers: map[fitting]*servers{}}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.doors = append(l.doors, d)
	d.refit()
}

// refit has connections to come served as the lobby now says. The lobby is locked.
func (d *door) refit() {
	wanted := fitting{d.lobby.limits, d.lobby.leaving}
	d.now = d.servers[wanted]
	if d.now == nil {
		d.now = d.newServers(wanted.limits, d.bring)
		d.now.plain.SetKeepAlives(!wanted.leaving)
		d.now.other.SetKeepAlivesEnabled(!wanted.leaving)
		d.servers[wanted] = d.now
	}
	server := d.now.other
	if d.room != nil {
		_ = d.room.Close()
	}
	next := &room{arrivals: make(chan net.Conn), closed: make(chan struct{}), address: d.listeners[0].Addr()}
	d.room = next
	d.serving.Go(func() { _ = server.Serve(next) }) // ends with the room
}

// accept accepts until stop, or until a listener breaks: then failed is told.
func (l *lobby) accept(failed func(error)) {
	for _, d := range l.doors {
		for _, listener := range d.listeners {
			d.accepting.Go(func() {
				if err := d.accept(listener); err != nil {
					failed(err)
				}
			})
		}
	}
}

// stopWithin is how long a door that is to close waits for connections that were begun to be completed: a few round trips in one region.
const stopWithin = 50 * time.Millisecond

// outOfRoom is the pause after the kernel had no file descriptor or memory left for another connection.
const outOfRoom = 50 * time.Millisecond

func (d *door) accept(listener net.Listener) error {
	defer func() { _ = listener.Close() }()
	for {
		conn, err := listener.Accept()
		var problem net.Error
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded): // stop
			for rest := acceptRest(listener); rest != nil; rest = acceptRest(listener) {
				d.take(rest)
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return nil
		case errors.As(err, &problem) && problem.Temporary(): //nolint:staticcheck // it is what tells these errors from the end of a listener
			<-time.After(outOfRoom)
			continue
		case err != nil:
			return err
		}
		d.take(conn)
	}
}

func (d *door) take(conn net.Conn) {
	switch conn := d.lobby.receive(conn).(type) {
	case nil:
	case *arrived:
		d.lobby.mu.Lock()
		plain := d.now.plain
		d.lobby.mu.Unlock()
		d.serving.Go(func() { plain.Serve(conn) })
	default:
		d.bring(conn)
	}
}

// bring hands a connection to net/http's server of now. With one that has asked it returns when that is being answered.
func (d *door) bring(conn net.Conn) {
	if a := askerOf(conn); a != nil {
		conn = a
		defer func() { <-a.begun }()
	}
	for {
		d.lobby.mu.Lock()
		now := d.room
		d.lobby.mu.Unlock()
		select {
		case now.arrivals <- conn:
			return
		case <-now.closed: // refitted; or, at the very end, closed for good
			d.lobby.mu.Lock()
			over := now == d.room
			d.lobby.mu.Unlock()
			if over {
				_ = conn.Close()
				return
			}
		}
	}
}

// leave has connections to come carry one request each, and returns the servers of those that are open.
func (l *lobby) leave() []*servers {
	before := l.all()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.leaving = true
	for _, d := range l.doors {
		d.refit()
	}
	return before
}

// sweep is the clock of the servers that have none.
func (l *lobby) sweep(now time.Time) {
	for _, each := range l.all() {
		each.plain.Sweep(now)
	}
}

// stop accepts no more. What was accepted is being served when it returns.
func (l *lobby) stop() {
	for _, d := range l.doors {
		for _, listener := range d.listeners {
			if lastOrders(listener) != nil {
				_ = listener.Close()
			}
		}
	}
	for _, d := range l.doors {
		d.accepting.Wait()
	}
}

// lastOrders has the kernel begin no more connections: to close the listener would reset those that it holds for us. Callers who come now get no
// answer to their SYN, and are refused a second later, when they repeat it.
func lastOrders(listener net.Listener) error {
	tcp, ok := listener.(*net.TCPListener)
	if !ok {
		return errors.ErrUnsupported
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return err
	}
	program := unix.SockFprog{Len: uint16(len(dropSYN)), Filter: &dropSYN[0]}
	var refused error
	if err := raw.Control(func(fd uintptr) {
		refused = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &program)
	}); err != nil || refused != nil {
		return errors.Join(err, refused)
	}
	return tcp.SetDeadline(time.Now().Add(stopWithin))
}

// dropSYN is a filter over TCP segments: one with the flag SYN is dropped, all others are taken. Connections that were begun before can be
// completed; they inherit the filter, and see no SYN any more.
var dropSYN = [...]unix.SockFilter{
	{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: 13}, // the flags
	{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, Jt: 0, Jf: 1, K: 0x02},
	{Code: unix.BPF_RET | unix.BPF_K, K: 0},
	{Code: unix.BPF_RET | unix.BPF_K, K: 0xffffffff},
}

// acceptRest returns a connection that the kernel holds, without waiting for one; nil: there is none.
func acceptRest(listener net.Listener) net.Conn {
	tcp, ok := listener.(*net.TCPListener)
	if !ok || tcp.SetDeadline(time.Now().Add(time.Millisecond)) != nil {
		return nil
	}
	conn, err := tcp.Accept()
	if err != nil {
		return nil
	}
	return conn
}

// all are the servers of all doors.
func (l *lobby) all() []*servers {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []*servers
	for _, d := range l.doors {
		all = slices.AppendSeq(all, maps.Values(d.servers))
	}
	return all
}

// close ends everything, at once.
func (l *lobby) close() {
	for _, d := range l.doors {
		_ = closeAll(d.listeners)
	}
	for _, each := range l.all() {
		each.plain.Close()
		_ = each.other.Close()
	}
	for _, d := range l.doors {
		d.accepting.Wait()
		d.serving.Wait()
	}
}

// shutdown lets servers finish what they are at, and tells HTTP/2 callers that they do.
func shutdown(ctx context.Context, all []*servers) error {
	var ending sync.WaitGroup
	failed := make([]error, 2*len(all))
	for i, each := range all {
		ending.Go(func() { failed[i] = each.plain.Shutdown(ctx) })
	}
	ending.Wait() // they may hand on what they have
	for i, each := range all {
		ending.Go(func() { failed[len(all)+i] = each.other.Shutdown(ctx) })
	}
	ending.Wait()
	return errors.Join(failed...)
}
