package sidecar

import (
	"context"
	"net"
	"net/http"
	"sync"
)

// asker is a connection that is brought to net/http's server when a whole head has been read from it. That server drops, unanswered, what it has read
// when it is being shut down; so it is known when the handler has the request.
type asker struct {
	net.Conn
	begins func()
	begun  chan struct{} // closed when the handler has the request, or the connection is closed
}

// askerOf returns the connection as one, or nil where no whole head has come.
func askerOf(conn net.Conn) *asker {
	if read, ok := conn.(interface{ Asked() bool }); !ok || !read.Asked() {
		return nil
	}
	a := &asker{Conn: conn, begun: make(chan struct{})}
	a.begins = sync.OnceFunc(func() { close(a.begun) })
	return a
}

// Close closes the connection.
func (a *asker) Close() error {
	a.begins()
	return a.Conn.Close()
}

// CloseWrite is what net/http and httputil look for.
func (a *asker) CloseWrite() error {
	if half, ok := a.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// askerKey is where a server's contexts have the asker.
type askerKey struct{}

// expectAskers has a server say when it has the requests of those that are brought to it.
func expectAskers(server *http.Server) {
	server.ConnContext = func(ctx context.Context, conn net.Conn) context.Context {
		if a, ok := conn.(*asker); ok {
			return context.WithValue(ctx, askerKey{}, a)
		}
		return ctx
	}
	handler := server.Handler
	server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a, ok := r.Context().Value(askerKey{}).(*asker); ok {
			a.begins()
		}
		handler.ServeHTTP(w, r)
	})
}
