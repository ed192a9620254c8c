package http1

import (
	"context"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http/httpguts"
)

// Client asks one app, over connections that it keeps. It has no timers: whoever uses it calls Sweep some times a second.
type Client struct {
	dial    func(context.Context) (net.Conn, error)
	keepFor time.Duration
	tick    atomic.Int64

	mu     sync.Mutex
	idle   []*upstream // the one used last is the last
	closed bool
}

// maxIdle is how many connections are kept that nobody uses.
const maxIdle = 1024

// upstream is a connection to the app.
type upstream struct {
	net.Conn
	used  bool  // it has carried a request before
	since int64 // in ticks: when it was put aside
	peek  peek
}

func newUpstream(socket net.Conn) *upstream { return &upstream{Conn: socket, peek: newPeek(socket)} }

// silent reports whether nothing has come from the app that nobody has read, not even the end of the connection.
func (u *upstream) silent() bool { return u.peek.look() == nothing }

// NewClient returns a client whose connections are dialled so, and kept for so long while nobody uses them.
func NewClient(dial func(context.Context) (net.Conn, error), keepFor time.Duration) *Client {
	c := &Client{dial: dial, keepFor: keepFor}
	c.tick.Store(time.Now().UnixNano())
	return c
}

// Sweep closes connections that were kept for long, or that the app has closed.
func (c *Client) Sweep(now time.Time) {
	c.tick.Store(now.UnixNano())
	c.mu.Lock()
	defer c.mu.Unlock()
	c.idle = slices.DeleteFunc(c.idle, func(each *upstream) bool {
		if now.UnixNano()-each.since < int64(c.keepFor) && each.silent() {
			return false
		}
		_ = each.Close()
		return true
	})
}

// Close closes connections as soon as nobody uses them.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for _, each := range c.idle {
		_ = each.Close()
	}
	c.idle = nil
}

// take returns a connection that was kept, or nil.
func (c *Client) take() *upstream {
	c.mu.Lock()
	defer c.mu.Unlock()
	last := len(c.idle) - 1
	if last < 0 {
		return nil
	}
	taken := c.idle[last]
	c.idle[last] = nil
	c.idle = c.idle[:last]
	return taken
}

func (c *Client) put(u *upstream) {
	u.used, u.since = true, c.tick.Load()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || len(c.idle) >= maxIdle {
		_ = u.Close()
		return
	}
	c.idle = append(c.idle, u)
}

// Sendable reports whether Send takes a request as it stands: one that was read here as before, with fields changed that cannot be misread.
func Sendable(before, r *http.Request) bool {
	for name, values := range r.Header {
		if len(values) == 0 {
			return false
		}
		if was := before.Header[name]; len(was) > 0 && &was[0] == &values[0] {
			continue
		}
		for _, value := range values {
			if !consists(value, inValue) && !httpguts.ValidHeaderFieldValue(value) {
				return false
			}
		}
		if !consists(name, inToken) {
			return false
		}
	}
	return r.Host == before.Host
}

// appendRequest appends a request whose body has this length, as net/http would send it.
func appendRequest(out []byte, r *http.Request, length int) []byte {
	out = append(append(out, r.Method...), ' ')
	out = append(out, r.URL.EscapedPath()...)
	if r.URL.ForceQuery || r.URL.RawQuery != "" {
		out = append(append(out, '?'), r.URL.RawQuery...)
	}
	out = append(append(out, " HTTP/1.1\r\nHost: "...), r.Host...)
	out = append(out, "\r\n"...)
	for name, values := range r.Header {
		switch name {
		case "Content-Length":
		case "User-Agent":
			if values[0] != "" { // one, or none
				out = appendField(out, name, values[:1])
			}
		default:
			out = appendField(out, name, values)
		}
	}
	if length > 0 || r.Method == http.MethodPost || r.Method == http.MethodPut || r.Method == http.MethodPatch {
		out = append(out, "Content-Length: "...)
		out = append(strconv.AppendInt(out, int64(length), 10), "\r\n"...)
	}
	return append(out, "\r\n"...)
}
