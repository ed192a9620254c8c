package sidecar

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/latchkey-dev/latchkey/internal/bundle"
	"github.com/latchkey-dev/latchkey/sidecar/http1"
	"github.com/latchkey-dev/latchkey/sidecar/problem"
	"github.com/latchkey-dev/latchkey/sidecar/tokenservice"
)

// app is the way from an admitted request to the app and back. Nothing else in the sidecar speaks to the app's ports.
type app struct {
	dialer   appDialer
	upstream bundle.Upstream // with defaults
	http1    *http.Transport
	http2    *http.Transport          // without TLS by prior knowledge; with TLS and ProtocolAuto it takes HTTP/1.1 as well
	trouble  *log.Logger              // what httputil has to say about connections that broke
	plain    map[uint16]*http1.Client // by port, for what needs neither
}

func newApp(dialer appDialer, ports []Port, upstream bundle.Upstream, logger *slog.Logger) *app {
	a := &app{dialer: dialer, upstream: upstream.WithDefaults(), trouble: slog.NewLogLogger(logger.Handler(), slog.LevelDebug)}
	a.dialer.Timeout = a.upstream.ConnectTimeout
	a.http1, a.http2 = a.newTransport(), a.newTransport()
	a.http1.Protocols.SetHTTP1(true)
	if a.http2.TLSClientConfig == nil {
		a.http2.Protocols.SetUnencryptedHTTP2(true)
	} else {
		a.http2.Protocols.SetHTTP2(true)
		a.http2.Protocols.SetHTTP1(a.upstream.Protocol == bundle.ProtocolAuto)
	}
	a.plain = newPlain(a.dialer, ports, a.upstream)
	return a
}

// keepConnections is how long idle connections to the app are kept: shorter than common servers do (gunicorn 2 s, Node and uvicorn 5 s), so that
// hardly ever a request goes into a connection that the app is closing.
const keepConnections = 1500 * time.Millisecond

func (a *app) newTransport() *http.Transport {
	transport := &http.Transport{
		DialContext:           a.dialer.DialContext,
		MaxIdleConnsPerHost:   1024,
		IdleConnTimeout:       keepConnections,
		TLSHandshakeTimeout:   a.upstream.ConnectTimeout,
		ExpectContinueTimeout: time.Second,
		DisableCompression:    true, // what the app sends is what the caller gets
		Protocols:             new(http.Protocols),
	}
	if a.upstream.CA != "" {
		// The system's roots are not asked: whoever they vouch for is somebody on the internet, not this app.
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM([]byte(a.upstream.CA))
		transport.TLSClientConfig = &tls.Config{RootCAs: roots, ServerName: a.upstream.ServerName, MinVersion: tls.VersionTLS12}
	}
	return transport
}

// transport chooses the protocol. A browser that speaks HTTP/2 to us says nothing about the app; gRPC does, for there is none without HTTP/2.
func (a *app) transport(r *http.Request) *http.Transport {
	switch {
	case r.Header["Upgrade"] != nil: // HTTP/2 has other ways
		return a.http1
	case a.upstream.Protocol == bundle.ProtocolHTTP1:
		return a.http1
	case a.upstream.Protocol == bundle.ProtocolHTTP2, a.upstream.CA != "", problem.IsGRPC(r):
		return a.http2
	}
	return a.http1
}

func (a *app) scheme() string {
	if a.upstream.CA != "" {
		return "https"
	}
	return "http"
}

// close lets go of idle connections.
func (a *app) close() {
	a.http1.CloseIdleConnections()
	a.http2.CloseIdleConnections()
	for _, client := range a.plain {
		client.Close()
	}
}

// sweep is the clock of the clients that have none.
func (a *app) sweep(now time.Time) {
	for _, client := range a.plain {
		client.Sweep(now)
	}
}

// forward sends the request to a port of the app, and answers with what the app answers.
func (a *app) forward(w http.ResponseWriter, r *http.Request, port uint16, p passage) {
	var proxy httputil.ReverseProxy
	proxy = httputil.ReverseProxy{
		Transport:     a.transport(r),
		FlushInterval: -1, // streams arrive as they are sent
		ErrorLog:      a.trouble,
		ErrorHandler:  func(_ http.ResponseWriter, _ *http.Request, err error) { p.failed(err) },
		Rewrite: func(r *httputil.ProxyRequest) {
			a.rewrite(r, port)
			p.introduce(r.Out)
		},
		ModifyResponse: func(answer *http.Response) error {
			proxy.BufferPool = buffersFor(answer)
			if answer.ContentLength == 0 {
				// Headers that are flushed by themselves are not the end of the stream, and a gRPC client takes only the end for a status.
				proxy.FlushInterval = 0
			} else if problem.IsGRPC(r) {
				answer.Body = &grpcBody{answer.Body, answer}
			}
			p.settle(answer)
			return nil
		},
	}
	proxy.ServeHTTP(w, r)
}

// grpcBody is what the app answers to a gRPC call. Where the sidecar ends the call, it ends it in words that every client has: a status.
type grpcBody struct {
	io.ReadCloser
	response *http.Response
}

func (b *grpcBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	var why *ending
	if err != nil && !errors.Is(err, io.EOF) && errors.As(context.Cause(b.response.Request.Context()), &why) {
		b.response.Trailer = problem.GRPCStatus(why.Status, string(why.Reason))
		return n, io.EOF
	}
	return n, err
}

// rewrite makes the request that the app sees. Hop-by-hop headers, and those that Connection names, are gone by now.
func (a *app) rewrite(p *httputil.ProxyRequest, port uint16) {
	// The very bytes of path and query that were judged; the authority from the Host header, as it came.
	p.Out.URL = &url.URL{
		Scheme: a.scheme(), Host: net.JoinHostPort(a.dialer.hosts[0].String(), strconv.Itoa(int(port))),
		Path: p.In.URL.Path, RawPath: p.In.URL.RawPath, RawQuery: p.In.URL.RawQuery, ForceQuery: p.In.URL.ForceQuery,
	}
	// Trailers come after everything that could be judged.
	p.Out.Trailer = nil
	rewriteHeader(p.In, p.Out.Header)
}

// rewriteHeader makes the header that the app sees of the request that came.
func rewriteHeader(in *http.Request, out http.Header) {
	// Only WebSocket may turn the connection into something else. With Upgrade: h2c a caller would go on to talk to the app past us.
	if upgrade := out.Get("Upgrade"); upgrade != "" && !strings.EqualFold(upgrade, "websocket") {
		out.Del("Upgrade")
		out.Del("Connection")
	}
	out.Del("Http2-Settings")

	// What proxies before us said stays, though it decides nothing here; we add who called us.
	for _, name := range []string{"Forwarded", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-For"} {
		if values := in.Header[name]; len(values) > 0 {
			out[name] = slices.Clone(values) // http1 uses its own again when the request is over, which net/http may not know yet
		}
	}
	if in.TLS != nil && len(in.Header["X-Forwarded-Proto"]) == 0 {
		out["X-Forwarded-Proto"] = []string{"https"} // the app would have no other way to know
	}
	if peer, _, err := net.SplitHostPort(in.RemoteAddr); err == nil {
		before := strings.Join(in.Header["X-Forwarded-For"], ", ")
		if before != "" {
			peer = before + ", " + peer
		}
		out["X-Forwarded-For"] = []string{peer}
	}

	dropCookies(out)
}

// dropCookies takes the token services' cookies out of a request: a refresh token is nothing that an app should hold.
func dropCookies(header http.Header) {
	cookies := header["Cookie"]
	if len(cookies) == 0 {
		return
	}
	kept := make([]string, 0, len(cookies))
	for _, cookie := range cookies {
		if cookie = tokenservice.KeepCookies(cookie, false); cookie != "" {
			kept = append(kept, cookie)
		}
	}
	if len(kept) == 0 {
		delete(header, "Cookie")
		return
	}
	header["Cookie"] = kept
}

// buffers lends out buffers for copying bodies.
type buffers struct {
	size int
	pool sync.Pool
}

// Of all apps, one after the other. A stream holds its buffer all the while that it has nothing to say, and there may be thousands.
var (
	downloads = buffers{size: 32 << 10}
	streams   = buffers{size: 4 << 10}
)

// buffersFor chooses by what the answer says that it is.
func buffersFor(answer *http.Response) *buffers {
	mediaType, _, _ := strings.Cut(answer.Header.Get("Content-Type"), ";")
	if mediaType == "text/event-stream" || strings.HasPrefix(mediaType, "application/grpc") || answer.StatusCode == http.StatusSwitchingProtocols {
		return &streams
	}
	return &downloads
}

func (b *buffers) Get() []byte {
	if buffer, ok := b.pool.Get().(*[]byte); ok {
		return *buffer
	}
	return make([]byte, b.size)
}

func (b *buffers) Put(buffer []byte) { b.pool.Put(&buffer) }
