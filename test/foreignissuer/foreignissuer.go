// Package foreignissuer gives tests an identity provider of somebody else's: a TLS server with an authority of its own that publishes a key set
// and a discovery document, counts who asks, and can be made to fail, to hang and to lie. It knows nothing of those who fetch from it.
package foreignissuer

import (
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey-dev/latchkey/internal/keyset"
	"github.com/latchkey-dev/latchkey/internal/pki"
	"github.com/latchkey-dev/latchkey/internal/signing"
)

// Issuer is one identity provider.
type Issuer struct {
	// URL is its issuer identifier. JWKSURI is <URL>/certs, DiscoveryURL <URL>/.well-known/openid-configuration.
	URL, JWKSURI, DiscoveryURL string
	// CA holds the PEM certificate of its authority.
	CA string

	asked  atomic.Int64
	mu     sync.Mutex
	answer http.HandlerFunc
	server *http.Server
}

// Start starts an issuer on an address of this machine, until the test ends. It publishes nothing yet: it answers 503.
func Start(t testing.TB, address string) *Issuer {
	t.Helper()
	ca, err := pki.NewCA(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := ca.Issue(nil, []net.IP{net.ParseIP(address)}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	listener, err := tls.Listen("tcp", net.JoinHostPort(address, "0"), &tls.Config{Certificates: []tls.Certificate{*certificate.TLS()}})
	if err != nil {
		t.Fatal(err)
	}
	url := "https://" + listener.Addr().String()
	i := &Issuer{URL: url, JWKSURI: url + "/certs", DiscoveryURL: url + "/.well-known/openid-configuration", CA: string(ca.CertPEM())}
	i.Fail(http.StatusServiceUnavailable)
	i.server = &http.Server{Handler: i, ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: time.Minute}
	done := make(chan struct{})
	go func() { defer close(done); _ = i.server.Serve(listener) }()
	t.Cleanup(func() { i.Stop(); <-done })
	return i
}

// Stop ends it: from now on connections are refused.
func (i *Issuer) Stop() { _ = i.server.Close() }

// ServeHTTP implements http.Handler.
func (i *Issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/.well-known/openid-configuration" {
		_, _ = fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q}`, i.URL, i.JWKSURI)
		return
	}
	i.asked.Add(1)
	i.mu.Lock()
	answer := i.answer
	i.mu.Unlock()
	answer(w, r)
}

// Asked tells how often the key set was asked for.
func (i *Issuer) Asked() int { return int(i.asked.Load()) }

// Answer makes the issuer answer in this way when its key set is asked for.
func (i *Issuer) Answer(answer http.HandlerFunc) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.answer = answer
}

// Fail makes it answer with a status and nothing else.
func (i *Issuer) Fail(status int) {
	i.Answer(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
}

// Hang makes it not answer at all.
func (i *Issuer) Hang() {
	i.Answer(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
}

// Publish makes it publish the public halves of the keys, with an ETag.
func (i *Issuer) Publish(t testing.TB, keys ...*signing.Key) {
	t.Helper()
	public := make([]*keyset.Key, len(keys))
	for n, key := range keys {
		public[n] = key.Public(time.Time{})
	}
	set, err := keyset.NewSet(public...)
	if err != nil {
		t.Fatal(err)
	}
	text, err := set.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	i.PublishText(string(text))
}

// PublishText makes it publish this, whatever it is.
func (i *Issuer) PublishText(text string) {
	etag := fmt.Sprintf("%q", fmt.Sprintf("%x", sha256.Sum256([]byte(text))))
	i.Answer(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", etag)
		if r.Header.Get("If-None-Match") == etag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		_, _ = io.WriteString(w, text)
	})
}

// Address returns an address of this machine that others could dial, for tests of programs that dial no loopback.
func Address(t testing.TB) string {
	t.Helper()
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, address := range addresses {
		if network, ok := address.(*net.IPNet); ok && network.IP.IsGlobalUnicast() {
			return network.IP.String()
		}
	}
	t.Fatal("this machine has no address but loopback: connect it to a network")
	return ""
}
