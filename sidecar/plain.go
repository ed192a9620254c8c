package sidecar

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"

	"github.com/latchkey-dev/latchkey/internal/bundle"
	"github.com/latchkey-dev/latchkey/sidecar/http1"
)

// crossing is a plain request on its way to an app that speaks plain HTTP/1.1, as most do. It takes a fifth of what net/http takes for it: no
// goroutine, and hardly any memory. Crossings go round.
type crossing struct {
	passage
	call   http1.Call
	cancel context.CancelCauseFunc // of call
	out    http.Request
	url    url.URL
	body   []byte
}

var crossings = sync.Pool{New: func() any {
	c := &crossing{out: http.Request{Header: http.Header{}}}
	c.cancel = c.call.Cancel
	return c
}}

// newPlain returns clients for each port of the app, or none where it speaks something else.
func newPlain(dialer appDialer, ports []Port, upstream bundle.Upstream) map[uint16]*http1.Client {
	if upstream.CA != "" || upstream.Protocol == bundle.ProtocolHTTP2 {
		return nil
	}
	clients := map[uint16]*http1.Client{}
	for _, port := range ports {
		address := net.JoinHostPort("", strconv.Itoa(int(port.App)))
		clients[port.App] = http1.NewClient(func(ctx context.Context) (net.Conn, error) { return dialer.DialContext(ctx, "tcp", address) }, keepConnections)
	}
	return clients
}

// cross makes a crossing of a request that can be one, or returns nil: one that was read as plain, and whose body is here already.
func (a *app) cross(p passage, port uint16) *crossing {
	in := p.exchange.request
	client := a.plain[port]
	if client == nil || p.exchange.line == nil || p.exchange.grpc {
		return nil
	}
	c := crossings.Get().(*crossing) //nolint:forcetypeassert // it holds nothing else
	c.passage = p
	c.url = *in.URL
	c.out = http.Request{Method: in.Method, URL: &c.url, Host: in.Host, Header: c.out.Header}
	clear(c.out.Header)
	for name, values := range in.Header {
		if name != "Connection" {
			c.out.Header[name] = values
		}
	}
	rewriteHeader(in, c.out.Header)
	p.introduce(&c.out)
	if whole := true; http1.Sendable(in, &c.out) {
		c.body = nil
		if body, ok := in.Body.(*http1.Body); ok {
			c.body, whole = body.Whole()
		}
		if whole {
			c.call.Reset(client)
			return c
		}
	}
	crossings.Put(c)
	return nil
}

// pass asks the app and answers.
func (c *crossing) pass() {
	w := c.exchange
	answer, err := c.call.Send(c.exchange.request.Context(), &c.out, c.body, c.interim)
	if err != nil {
		c.failed(err)
		return
	}
	header := w.Header()
	for name, values := range answer.Header {
		if before := header[name]; before != nil {
			values = append(before, values...)
		}
		header[name] = values
	}
	if _, known := header["Content-Type"]; !known {
		header["Content-Type"] = nil // nor do we guess
	}
	for _, name := range answer.Trailer {
		header.Add("Trailer", name)
	}
	w.WriteHeader(answer.Status)
	if err := c.call.Copy(w); err != nil {
		c.failed(err)
	}
}

// interim passes on what the app says before it answers.
func (c *crossing) interim(status int, header http.Header) {
	over := c.exchange.Header()
	before := over.Clone()
	for name, values := range header {
		over[name] = append(over[name], values...)
	}
	c.exchange.WriteHeader(status)
	clear(over)
	for name, values := range before {
		over[name] = values
	}
}
