package sidecar

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/latchkey-dev/latchkey/internal/bundle"
)

// door is one port of the app: its listeners, and the servers for what they accept. Listeners never change; servers do, with the limits.
type door struct {
	lobby     *lobby
	listeners []net.Listener
	newServer func(bundle.Limits) *http.Server
	serving   sync.WaitGroup
	accepting sync.WaitGroup

	// Guarded by the lobby's lock.
	servers map[fitting]*http.Server // every one may still have connections
	room    *room                    // of the server for those that come now
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
func (l *lobby) addDoor(listeners []net.Listener, newServer func(bundle.Limits) *http.Server) {
	d := &door{lobby: l, listeners: listeners, newServer: newServer, servers: map[fitting]*http.Server{}}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.doors = append(l.doors, d)
	d.refit()
}

// refit has connections to come served as the lobby now says. The lobby is locked.
func (d *door) refit() {
	wanted := fitting{d.lobby.limits, d.lobby.leaving}
	server := d.servers[wanted]
	if server == nil {
		server = d.newServer(wanted.limits)
		server.SetKeepAlivesEnabled(!wanted.leaving)
		d.servers[wanted] = server
	}
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
	if conn = d.lobby.receive(conn); conn != nil {
		d.bring(conn)
	}
}

// bring hands a connection to the server of now.
func (d *door) bring(conn net.Conn) {
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
func (l *lobby) leave() []*http.Server {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.leaving = true
	var before []*http.Server
	for _, d := range l.doors {
		for _, server := range d.servers {
			before = append(before, server)
		}
		d.refit()
	}
	return before
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
func (l *lobby) all() []*http.Server {
	l.mu.Lock()
	defer l.mu.Unlock()
	var servers []*http.Server
	for _, d := range l.doors {
		for _, server := range d.servers {
			servers = append(servers, server)
		}
	}
	return servers
}

// close ends everything, at once.
func (l *lobby) close() {
	for _, d := range l.doors {
		_ = closeAll(d.listeners)
	}
	for _, server := range l.all() {
		_ = server.Close()
	}
	for _, d := range l.doors {
		d.accepting.Wait()
		d.serving.Wait()
	}
}

// shutdown lets servers finish what they are at, and tells HTTP/2 callers that they do.
func shutdown(ctx context.Context, servers []*http.Server) error {
	var ending sync.WaitGroup
	failed := make([]error, len(servers))
	for i, server := range servers {
		ending.Go(func() { failed[i] = server.Shutdown(ctx) })
	}
	ending.Wait()
	return errors.Join(failed...)
}
