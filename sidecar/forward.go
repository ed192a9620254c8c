package sidecar

import (
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/latchkey-dev/latchkey/sidecar/tokenservice"
)

// app is the way from an admitted request to the app and back. Nothing else in the sidecar speaks to the app's ports, so another way (a
// faster one) has to replace this file alone.
type app struct {
	host    netip.Addr
	http1   *http.Transport // callers that speak HTTP/1
	h2c     *http.Transport // callers that speak HTTP/2: an app that they were told to call so speaks it, too
	buffers buffers
	trouble *log.Logger // what httputil has to say about connections that broke
}

func newApp(host netip.Addr, logger *slog.Logger) *app {
	transport := func() *http.Transport {
		return &http.Transport{
			DialContext:         (&net.Dialer{Timeout: time.Second}).DialContext, // over loopback; an app that does not accept in a second is down
			MaxIdleConnsPerHost: 1024,
			// Shorter than what common servers keep idle connections for (gunicorn 2 s, Node and uvicorn 5 s), so that hardly ever a
			// request goes into a connection that the app is closing.
			IdleConnTimeout:       1500 * time.Millisecond,
			ExpectContinueTimeout: time.Second,
			DisableCompression:    true, // what the app sends is what the caller gets
			Protocols:             new(http.Protocols),
		}
	}
	a := &app{host: host, http1: transport(), h2c: transport(), trouble: slog.NewLogLogger(logger.Handler(), slog.LevelDebug)}
	a.http1.Protocols.SetHTTP1(true)
	a.h2c.Protocols.SetUnencryptedHTTP2(true)
	return a
}

// close lets go of idle connections.
func (a *app) close() {
	a.http1.CloseIdleConnections()
	a.h2c.CloseIdleConnections()
}

// passage is what others have to say about one request on its way through.
type passage struct {
	introduce func(out *http.Request)     // has the last word on what the app sees
	settle    func(answer *http.Response) // has the last word on what the app answers
	failed    func(error)                 // answers when the app does not
}

// forward sends the request to a port of the app, and answers with what the app answers.
func (a *app) forward(w http.ResponseWriter, r *http.Request, port uint16, p passage) {
	proxy := httputil.ReverseProxy{
		Transport:     a.http1,
		FlushInterval: -1, // streams arrive as they are sent
		BufferPool:    &a.buffers,
		ErrorLog:      a.trouble,
		ErrorHandler:  func(_ http.ResponseWriter, _ *http.Request, err error) { p.failed(err) },
		Rewrite: func(r *httputil.ProxyRequest) {
			a.rewrite(r, port)
			p.introduce(r.Out)
		},
		ModifyResponse: func(answer *http.Response) error {
			p.settle(answer)
			return nil
		},
	}
	if r.ProtoMajor == 2 {
		proxy.Transport = a.h2c
	} else {
		// Else net/http would swallow the rest of the request's body before it sends a byte of the answer.
		_ = http.NewResponseController(w).EnableFullDuplex() // it is supported where a body can come over HTTP/1
	}
	proxy.ServeHTTP(w, r)
}

// rewrite makes the request that the app sees. Hop-by-hop headers, and those that Connection names, are gone by now.
func (a *app) rewrite(p *httputil.ProxyRequest, port uint16) {
	// The very bytes of path and query that were judged; the authority from the Host header, as it came.
	p.Out.URL = &url.URL{
		Scheme: "http", Host: net.JoinHostPort(a.host.String(), strconv.Itoa(int(port))),
		Path: p.In.URL.Path, RawPath: p.In.URL.RawPath, RawQuery: p.In.URL.RawQuery, ForceQuery: p.In.URL.ForceQuery,
	}
	// Trailers come after everything that could be judged.
	p.Out.Trailer = nil

	// Only WebSocket may turn the connection into something else. With Upgrade: h2c a caller would go on to talk to the app past us.
	if upgrade := p.Out.Header.Get("Upgrade"); upgrade != "" && !strings.EqualFold(upgrade, "websocket") {
		p.Out.Header.Del("Upgrade")
		p.Out.Header.Del("Connection")
	}
	p.Out.Header.Del("Http2-Settings")

	// What proxies before us said stays, though it decides nothing here; we add who called us.
	for _, name := range []string{"Forwarded", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-For"} {
		if values := p.In.Header[name]; len(values) > 0 {
			p.Out.Header[name] = values
		}
	}
	if peer, _, err := net.SplitHostPort(p.In.RemoteAddr); err == nil {
		before := strings.Join(p.In.Header["X-Forwarded-For"], ", ")
		if before != "" {
			peer = before + ", " + peer
		}
		p.Out.Header["X-Forwarded-For"] = []string{peer}
	}

	dropCookies(p.Out.Header)
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
type buffers struct{ pool sync.Pool }

const bufferSize = 32 << 10

func (b *buffers) Get() []byte {
	if buffer, ok := b.pool.Get().(*[bufferSize]byte); ok {
		return buffer[:]
	}
	return make([]byte, bufferSize)
}

func (b *buffers) Put(buffer []byte) { b.pool.Put((*[bufferSize]byte)(buffer)) }
