package http1

import (
	"context"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
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
	if c.closed || len(c.idle) >= maxIdle || u.raw == nil { // the last: nobody could look at it
		_ = u.Close()
		return
	}
	c.idle = append(c.idle, u)
}
