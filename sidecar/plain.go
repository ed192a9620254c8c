package sidecar

import (
	"context"
	"net"
	"net/http"
	"strconv"
	"sync"

	"github.com/latchkey-dev/latchkey/internal/bundle"
	"github.com/latchkey-dev/latchkey/sidecar/http1"
	"github.com/latchkey-dev/latchkey/sidecar/tokenservice"
)

// crossing is a plain request on its way to an app that speaks plain HTTP/1.1, as most do. It takes a fifth of what net/http takes for it: no
// goroutine, and hardly any memory. Crossings go round.
type crossing struct {
	passage
	call   http1.Call
	cancel context.CancelCauseFunc            // of call
	add    func(name, value string) (ok bool) // to call
	body   []byte
}

var crossings = sync.Pool{New: func() any {
	c := &crossing{}
	c.cancel, c.add = c.call.Cancel, c.call.AddNew
	return c
}}

// line is the connection of a caller whose request was read as plain.
type line interface {
	// Gone reports whether the caller has closed it.
	Gone() bool
	// Fields are those of the request, in their order; nil if it was changed since.
	Fields(r *http.Request) *http1.Fields
	// Relay begins the answer with fields of the app's.
	Relay(status int, fields *http1.Fields)
}

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
	client := a.plain[port]
	if client == nil || p.exchange.line == nil || p.exchange.grpc {
		return nil
	}
	c := crossings.Get().(*crossing) //nolint:forcetypeassert // it holds nothing else
	c.passage, c.body = p, nil
	if whole := true; c.begin(client) {
		if body, ok := p.exchange.request.Body.(*http1.Body); ok {
			c.body, whole = body.Whole()
		}
		if whole {
			return c
		}
	}
	c.call.Drop()
	c.release()
	return nil
}

func (c *crossing) release() {
	c.passage, c.body = passage{}, nil
	crossings.Put(c)
}

// begin writes the head of the request, and reports false where the app could misread it: net/http knows what to say of it.
func (c *crossing) begin(client *http1.Client) (ok bool) {
	in := c.exchange.request
	if fields := c.exchange.line.Fields(in); fields != nil && c.gate.KnowsEachField() && c.told.span == nil {
		if peer, _, err := net.SplitHostPort(in.RemoteAddr); err == nil {
			c.call.Begin(client, in)
			return c.copyFields(fields, peer)
		}
	}
	url := *in.URL
	out := http.Request{Method: in.Method, URL: &url, Host: in.Host, Header: make(http.Header, len(in.Header)+4)}
	for name, values := range in.Header {
		if name != "Connection" {
			out.Header[name] = values
		}
	}
	rewriteHeader(in, out.Header)
	c.introduce(&out)
	c.call.Begin(client, &out)
	for name, values := range out.Header {
		for _, value := range values {
			if !c.add(name, value) {
				return false
			}
		}
	}
	return true
}

// copyFields does what rewriteHeader and Gate.Introduce do to whole headers, field by field. A fuzz test holds the two together.
func (c *crossing) copyFields(fields *http1.Fields, peer string) (ok bool) {
	forwarded, comma := "", ""
	for i := range fields.Len() {
		name, value := fields.At(i)
		switch name {
		case "Connection":
			continue
		case "X-Forwarded-For":
			forwarded, comma = forwarded+comma+value, ", "
			continue
		case "Cookie":
			if value = tokenservice.KeepCookies(value, false); value == "" {
				continue
			}
		}
		if c.gate.Passes(name, value, c.caller) {
			c.call.Add(name, value)
		}
	}
	if forwarded != "" {
		peer = forwarded + ", " + peer
	}
	c.call.Add("X-Forwarded-For", peer)
	return c.gate.Identify(c.caller, c.add)
}

// pass asks the app and answers.
func (c *crossing) pass() {
	w := c.exchange
	answer, err := c.call.Send(w.request.Context(), c.body, c.interim)
	if err != nil {
		c.failed(err)
		return
	}
	if answer.Fields != nil && !c.told.changesHeader() {
		w.answered.Store(true)
		c.told.status = answer.Status
		w.line.Relay(answer.Status, answer.Fields)
	} else {
		header := w.Header()
		answer.AddTo(header)
		for _, name := range answer.Trailer {
			header.Add("Trailer", name)
		}
		w.WriteHeader(answer.Status)
	}
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
