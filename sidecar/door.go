package sidecar

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"sync"
	"syscall"
	"time"

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

// stopWithin is how long a door that is to close goes on accepting what the kernel has accepted in our name.
const stopWithin = 10 * time.Millisecond

// outOfRoom is the pause after the kernel had no file descriptor or memory left for another connection.
const outOfRoom = 50 * time.Millisecond

func (d *door) accept(listener net.Listener) error {
	defer func() { _ = listener.Close() }()
	for {
		conn, err := listener.Accept()
		var problem net.Error
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, net.ErrClosed):
			return nil // stop, or close
		case errors.As(err, &problem) && problem.Temporary(): //nolint:staticcheck // it is what tells these errors from the end of a listener
			<-time.After(outOfRoom)
			continue
		case err != nil:
			return err
		}
		if conn = d.lobby.receive(conn); conn != nil {
			d.bring(conn)
		}
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

// lastOrders has the kernel take no more connections than it holds: to close the listener would reset those. Callers who come now have no
// connection, and are refused one when the listener is closed.
func lastOrders(listener net.Listener) error {
	tcp, ok := listener.(*net.TCPListener)
	if !ok {
		return errors.ErrUnsupported
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return err
	}
	var refused error
	if err := raw.Control(func(fd uintptr) { refused = syscall.Listen(int(fd), 0) }); err != nil || refused != nil {
		return errors.Join(err, refused)
	}
	return tcp.SetDeadline(time.Now().Add(stopWithin))
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
