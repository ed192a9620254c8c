package sidecar_test

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/latchkey-dev/latchkey/internal/bundle"
	"github.com/latchkey-dev/latchkey/internal/pki"
	"github.com/latchkey-dev/latchkey/internal/revocation"
	"github.com/latchkey-dev/latchkey/internal/sidecartoken"
)

const tokenServiceHost = "quickstart-issuer.shop.svc"

// tokenService stands in for a token service: it serves TLS with a certificate of its own CA, answers the sign-in routes with what the
// test says, and speaks the revocation stream.
type tokenService struct {
	token   sidecartoken.Token
	w       *world
	ca      *pki.CA
	address string

	mu      sync.Mutex
	stream  string
	endless bool // the stream never says that it is complete
	entries []revocation.Entry
	changed chan struct{} // closed at the next change
	follows []string      // the query of each time the stream was asked for
	asked   []asked
	answer  http.HandlerFunc
}

// asked is what the token service saw of a request.
type asked struct {
	Path, Host, Body string
	Header           http.Header
}

func (w *world) newTokenService() *tokenService {
	w.Helper()
	ca, err := pki.NewCA(time.Now())
	check(w, err)
	host, _, _ := net.SplitHostPort(w.appIP + ":0")
	s := &tokenService{w: w, ca: ca, address: host + ":8443", stream: "first", changed: make(chan struct{}), token: sidecartoken.New()}
	s.answer = func(http.ResponseWriter, *http.Request) {}
	return s
}

// in makes the bundle's first issuer this token service's, with its routes below /auth.
func (s *tokenService) in(b *bundle.Bundle) *bundle.Bundle {
	b.Issuers[0].TokenService = &bundle.TokenService{
		URL: "https://" + tokenServiceHost + ":8443", Address: s.address, CA: string(s.ca.CertPEM()), Token: s.token,
	}
	b.Session = &bundle.Session{PathPrefix: "/auth", Issuer: b.Issuers[0].URL}
	return b
}

// serve runs the service until the test ends, or until the function that it returns is called.
func (s *tokenService) serve(hosts ...string) (stop func()) {
	s.w.Helper()
	if len(hosts) == 0 {
		hosts = []string{tokenServiceHost}
	}
	certificate, err := s.ca.Issue(hosts, nil, time.Now())
	check(s.w, err)
	listener, err := net.Listen("tcp", s.address)
	check(s.w, err)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /revocations", s.serveStream)
	mux.HandleFunc("/", s.serveRoute)
	server := &http.Server{Handler: mux}
	tlsListener := tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{*certificate.TLS()}})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(tlsListener)
	}()
	stop = sync.OnceFunc(func() {
		_ = server.Close()
		<-ended
	})
	s.w.Cleanup(stop)
	return stop
}

func (s *tokenService) serveRoute(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	s.asked = append(s.asked, asked{Path: r.RequestURI, Host: r.Host, Body: string(body), Header: r.Header})
	answer := s.answer
	s.mu.Unlock()
	answer(w, r)
}

func (s *tokenService) takeAsked() []asked {
	s.mu.Lock()
	defer s.mu.Unlock()
	taken := s.asked
	s.asked = nil
	return taken
}

func (s *tokenService) takeFollows() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	taken := s.follows
	s.follows = nil
	return taken
}

func (s *tokenService) serveStream(w http.ResponseWriter, r *http.Request) {
	after, _ := strconv.ParseInt(r.URL.Query().Get("after"), 10, 64)
	w.Header().Set("Content-Type", "text/event-stream")
	s.mu.Lock()
	s.follows = append(s.follows, r.URL.RawQuery)
	stream, endless := s.stream, s.endless
	s.mu.Unlock()
	if r.URL.Query().Get("stream") != stream {
		_ = revocation.WriteReset(w, stream)
		after = 0
	}
	for ready := false; ; ready = true {
		s.mu.Lock()
		entries, changed := slices.Clone(s.entries), s.changed
		s.mu.Unlock()
		for _, entry := range entries {
			if entry.Number > after {
				_ = revocation.WriteRevoke(w, entry)
				after = entry.Number
			}
		}
		if !ready && !endless {
			_ = revocation.WriteReady(w, revocation.Position{Stream: stream, Number: after})
		}
		w.(http.Flusher).Flush()
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		}
	}
}

// revoke ends a session of the usual issuer.
func (s *tokenService) revoke(sid string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entries = append(s.entries, revocation.Entry{
		Number: int64(len(s.entries) + 1), Hash: revocation.SessionHash(issuerURL, sid),
		Until: time.Now().Add(10 * time.Minute).Truncate(time.Second),
	})
	close(s.changed)
	s.changed = make(chan struct{})
}

// loseDatabase makes it another database, without entries.
func (s *tokenService) loseDatabase() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stream, s.entries = "second", nil
}

// waitFollowed waits until the sidecar follows the stream.
func (w *world) waitFollowed() {
	w.Helper()
	w.eventually("the revocation stream is followed", func() bool {
		return w.metric(`latchkey_sidecar_revocation_stream_connected{issuer="`+issuerURL+`"}`) == "1"
	})
}

func newWorldWithTokenService(t *testing.T) (*world, *tokenService) {
	t.Helper()
	w := newWorld(t)
	w.serveApp(http.HandlerFunc(echo))
	s := w.newTokenService()
	w.mount(s.in(w.bundle()))
	return w, s
}
