package jwksource_test

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/latchkey-dev/latchkey/internal/jwksource"
	"github.com/latchkey-dev/latchkey/internal/keyset"
	"github.com/latchkey-dev/latchkey/internal/pki"
	"github.com/latchkey-dev/latchkey/internal/signing"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is for what should take milliseconds, on a busy machine.
const patience = 20 * time.Second

// anywhere is the rule of these tests, whose servers listen on loopback.
func anywhere(netip.Addr) error { return nil }

func jwks(t testing.TB, ids ...string) string {
	t.Helper()
	var keys []*keyset.Key
	for _, id := range ids {
		made, err := signing.Generate("ES256", 0)
		if err != nil {
			t.Fatal(err)
		}
		public := made.Public(time.Time{})
		set, err := keyset.NewSet(public)
		if err != nil {
			t.Fatal(err)
		}
		text, err := set.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		renamed, err := keyset.Parse([]byte(strings.Replace(string(text), public.ID(), id, 1)))
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, renamed.Keys()...)
	}
	set, err := keyset.NewSet(keys...)
	if err != nil {
		t.Fatal(err)
	}
	text, err := set.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// serve returns an issuer's server and the PEM certificate that it is known by.
func serve(t testing.TB, handler http.HandlerFunc) (url, ca string) {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.URL, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
}

func newFetcher(t testing.TB, source jwksource.Source) *jwksource.Fetcher {
	t.Helper()
	fetcher, err := jwksource.New(source, jwksource.Options{Addresses: anywhere, Timeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	return fetcher
}

func TestFetchBringsTheKeySet(t *testing.T) {
	body := jwks(t, "a", "b")
	var asked http.Header
	url, ca := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked = r.Header.Clone()
		w.Header().Set("Content-Type", "text/plain") // as many servers have it
		w.Header().Set("Cache-Control", "max-age=120")
		_, _ = fmt.Fprint(w, body)
	})
	got, err := newFetcher(t, jwksource.Source{Issuer: issuer, JWKSURI: url + "/certs?v=1", CA: ca}).Fetch(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got.Set.Len() != 2 || got.Lifetime != 2*time.Minute || got.NotModified || got.JWKSURI != url+"/certs?v=1" {
		t.Errorf("got %+v", got)
	}
	for _, name := range []string{"Authorization", "Cookie", "Referer", "Accept-Encoding", "If-None-Match"} {
		if value := asked.Get(name); value != "" {
			t.Errorf("got %s: %s sent, want none", name, value)
		}
	}
}

func TestFetchAsksForWhatIsNewer(t *testing.T) {
	body := jwks(t, "a")
	var sent atomic.Int64
	url, ca := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `W/"1"`)
		if r.Header.Get("If-None-Match") == `W/"1"` {
			w.Header().Set("Cache-Control", "max-age=300")
			w.WriteHeader(http.StatusNotModified)
			return
		}
		sent.Add(1)
		_, _ = fmt.Fprint(w, body)
	})
	fetcher := newFetcher(t, jwksource.Source{Issuer: issuer, JWKSURI: url, CA: ca})
	first, err := fetcher.Fetch(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // what was not modified can be asked about again
		second, err := fetcher.Fetch(t.Context(), first)
		if err != nil {
			t.Fatal(err)
		}
		if !second.NotModified || second.Set != first.Set || second.Lifetime != 5*time.Minute {
			t.Errorf("got %+v, want the first set", second)
		}
		first = second
	}
	if got := sent.Load(); got != 1 {
		t.Errorf("got the set sent %d times, want once", got)
	}
}

func TestFetchFindsTheKeySetByDiscovery(t *testing.T) {
	body := jwks(t, "a")
	var base string
	moved := "/certs"
	base, ca := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/tenant/.well-known/openid-configuration":
			_, _ = fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q,"scopes_supported":["openid"]}`, base+"/tenant", base+moved)
		case moved:
			w.Header().Set("ETag", `"same everywhere"`)
			if r.Header.Get("If-None-Match") != "" {
				w.WriteHeader(http.StatusNotModified)
				return
			}
			_, _ = fmt.Fprint(w, body)
		default:
			http.NotFound(w, r)
		}
	})
	source := jwksource.Source{Issuer: base + "/tenant", DiscoveryURL: base + "/tenant/.well-known/openid-configuration", CA: ca}
	fetcher := newFetcher(t, source)
	got, err := fetcher.Fetch(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got.JWKSURI != base+"/certs" || got.Set.Len() != 1 {
		t.Errorf("got %+v", got)
	}
	moved = "/elsewhere" // what was there does not count as what is here
	if got, err = fetcher.Fetch(t.Context(), got); err != nil || got.NotModified || got.JWKSURI != base+"/elsewhere" {
		t.Errorf("after a move: got %+v, %v", got, err)
	}

	source.Issuer = base + "/other"
	_, err = newFetcher(t, source).Fetch(t.Context(), nil)
	wantFailure(t, err, jwksource.KindDocument, "is not of the issuer")
}

func wantFailure(t *testing.T, err error, kind jwksource.Kind, text string) {
	t.Helper()
	var failure *jwksource.Failure
	if !errors.As(err, &failure) {
		t.Fatalf("got %v, want a failure: %s", err, kind)
	}
	if failure.Kind != kind || !strings.Contains(failure.Detail, text) {
		t.Errorf("got %s: %s; want %s with %q in it", failure.Kind, failure.Detail, kind, text)
	}
}

func TestFetchFails(t *testing.T) {
	const leak = "hunter2"
	body := jwks(t, "a")
	done := make(chan struct{})
	t.Cleanup(func() { close(done) })
	for _, tc := range []struct {
		name    string
		handler http.HandlerFunc
		kind    jwksource.Kind
		text    string
	}{
		{"on another status", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, leak, http.StatusForbidden) }, jwksource.KindStatus, "jwksURI answers with status 403"},
		{"on a status that has no body", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }, jwksource.KindStatus, "status 204"},
		{"on 304 when nothing was fetched before", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotModified) }, jwksource.KindStatus, "(304)"},
		{"on a redirect within the host", func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/there" {
				_, _ = fmt.Fprint(w, body)
				return
			}
			http.Redirect(w, r, "/there?"+leak, http.StatusFound)
		}, jwksource.KindStatus, "redirect (302)"},
		{"on a redirect to another host", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://169.254.169.254/"+leak, http.StatusMovedPermanently)
		}, jwksource.KindStatus, "redirect (301)"},
		{"on a page", func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, "<html>"+leak) }, jwksource.KindDocument, "is not strict JSON"},
		{"on an empty answer", func(http.ResponseWriter, *http.Request) {}, jwksource.KindDocument, "is not strict JSON"},
		{"on a set without keys", func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, `{"keys":[]}`) }, jwksource.KindDocument, "there are none"},
		{"on a set of which no key can be used", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = fmt.Fprint(w, `{"keys":[{"kty":"RSA","alg":"RS256","n":"`+leak+`","e":"AQAB"}]}`)
		}, jwksource.KindDocument, "keys[0].n:"},
		{"on an answer that is too long", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = fmt.Fprint(w, body+strings.Repeat(" ", jwksource.MaxDocument))
		}, jwksource.KindDocument, "more than 262144 bytes"},
		{"on an answer without end", func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				_, _ = fmt.Fprint(w, strings.Repeat(" ", 4096))
			}
		}, jwksource.KindDocument, "more than 262144 bytes"},
		{"on headers that are too long", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Long", strings.Repeat("a", 64<<10))
			_, _ = fmt.Fprint(w, body)
		}, jwksource.KindConnect, "the connection broke"},
		{"on an answer that does not come", func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-r.Context().Done():
			case <-done:
			}
		}, jwksource.KindTimeout, "did not answer in time"},
		{"on an answer that trickles", func(w http.ResponseWriter, r *http.Request) {
			_, _ = fmt.Fprint(w, `{"keys":[`)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}, jwksource.KindTimeout, "did not answer in time"},
		{"on an answer that is cut off", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_, _ = fmt.Fprint(w, `{"keys":[`)
		}, jwksource.KindConnect, "the connection broke"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			url, ca := serve(t, tc.handler)
			timeout := patience
			if tc.kind == jwksource.KindTimeout {
				timeout = time.Second
			}
			fetcher, err := jwksource.New(jwksource.Source{Issuer: issuer, JWKSURI: url, CA: ca}, jwksource.Options{Addresses: anywhere, Timeout: timeout})
			if err != nil {
				t.Fatal(err)
			}
			_, err = fetcher.Fetch(t.Context(), nil)
			wantFailure(t, err, tc.kind, tc.text)
			if strings.Contains(err.Error(), leak) {
				t.Errorf("got %v, which tells of the answer", err)
			}
		})
	}
}

func TestFetchProvesWhoTheServerIs(t *testing.T) {
	ours, err := pki.NewCA(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	strangers, err := pki.NewCA(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	loopback := []net.IP{net.IPv4(127, 0, 0, 1)}
	serveWith := func(ca *pki.CA, ips []net.IP, at time.Time, oldest bool) string {
		t.Helper()
		certificate, err := ca.Issue([]string{"idp.example"}, ips, at)
		if err != nil {
			t.Fatal(err)
		}
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			t.Error("got a request, want none before the server is known")
		}))
		server.Config.ErrorLog = log.New(io.Discard, "", 0)
		server.TLS = &tls.Config{Certificates: []tls.Certificate{*certificate.TLS()}}
		if oldest {
			server.TLS.MinVersion, server.TLS.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
		}
		server.StartTLS()
		t.Cleanup(server.Close)
		return server.URL
	}
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	good := string(ours.CertPEM())

	for _, tc := range []struct {
		name, url, ca, text string
	}{
		{"a certificate of no authority that the system trusts", serveWith(ours, loopback, time.Now(), false), "", "from no authority that is trusted"},
		{"a certificate of another authority", serveWith(strangers, loopback, time.Now(), false), good, "from no authority that is trusted"},
		{"a certificate for another name", serveWith(ours, nil, time.Now(), false), good, "is for another name"},
		{"a certificate that has expired", serveWith(ours, loopback, time.Now().Add(-100*24*time.Hour), false), good, "has expired"},
		{"TLS 1.1", serveWith(ours, loopback, time.Now(), true), good, "the TLS handshake failed"},
		{"no TLS", strings.Replace(plain.URL, "http://", "https://", 1), good, "does not speak TLS"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := newFetcher(t, jwksource.Source{Issuer: issuer, JWKSURI: tc.url, CA: tc.ca}).Fetch(t.Context(), nil)
			wantFailure(t, err, jwksource.KindTLS, tc.text)
		})
	}
}

func portOf(t *testing.T, url string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(strings.TrimPrefix(url, "https://"))
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// TestFetchJudgesTheAddressThatIsDialled goes by name and by number, with the rule that every program has.
func TestFetchJudgesTheAddressThatIsDialled(t *testing.T) {
	url, ca := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("got a request, want none") })
	port := portOf(t, url)
	for _, host := range []string{
		"127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "[::]", "127.1", "2130706433", "169.254.169.254", "[fe80::1]", "[fd00:ec2::254]", "100.100.100.200",
	} {
		t.Run(host, func(t *testing.T) {
			fetcher, err := jwksource.New(jwksource.Source{Issuer: issuer, JWKSURI: "https://" + host + ":" + port, CA: ca},
				jwksource.Options{Addresses: jwksource.Strict, Timeout: 2 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			_, err = fetcher.Fetch(t.Context(), nil)
			if err == nil { // names that are no addresses end at the resolver, in its own time
				t.Error("got keys, want nothing dialled")
			}
		})
	}
}

func TestFetchEndsWithItsContext(t *testing.T) {
	began := make(chan struct{})
	url, ca := serve(t, func(_ http.ResponseWriter, r *http.Request) { close(began); <-r.Context().Done() })
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-began; cancel() }()
	if _, err := newFetcher(t, jwksource.Source{Issuer: issuer, JWKSURI: url, CA: ca}).Fetch(ctx, nil); err == nil {
		t.Error("got no failure")
	}
}

func TestNoProxyIsAsked(t *testing.T) {
	body := jwks(t, "a")
	proxy := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the proxy was asked") }))
	t.Cleanup(proxy.Close)
	t.Setenv("HTTPS_PROXY", proxy.URL)
	url, ca := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, body) })
	if _, err := newFetcher(t, jwksource.Source{Issuer: issuer, JWKSURI: url, CA: ca}).Fetch(t.Context(), nil); err != nil {
		t.Error(err)
	}
}

func TestSourcesAreChecked(t *testing.T) {
	_, ca := serve(t, func(http.ResponseWriter, *http.Request) {})
	for _, tc := range []struct {
		name   string
		source jwksource.Source
		want   string
	}{
		{"takes a key set", jwksource.Source{JWKSURI: "https://idp.example/certs"}, ""},
		{"takes a document", jwksource.Source{DiscoveryURL: "https://idp.example:8443/.well-known/openid-configuration", CA: "# ours\n" + ca + ca}, ""},
		{"takes an address", jwksource.Source{JWKSURI: "https://[2001:db8::1]/certs"}, ""},
		{"refuses none", jwksource.Source{}, "set exactly one of jwksURI and discoveryURL"},
		{"refuses both", jwksource.Source{JWKSURI: "https://a", DiscoveryURL: "https://a"}, "set exactly one of jwksURI and discoveryURL"},
		{"refuses http", jwksource.Source{JWKSURI: "http://a"}, "jwksURI: must be an https URL with a host"},
		{"refuses another scheme", jwksource.Source{DiscoveryURL: "file:///a"}, "discoveryURL: must be an https URL with a host"},
		{"refuses no host", jwksource.Source{JWKSURI: "https://:443/"}, "jwksURI: must be an https URL with a host"},
		{"refuses an opaque URL", jwksource.Source{JWKSURI: "https:idp.example"}, "jwksURI: must be an https URL with a host"},
		{"refuses a user", jwksource.Source{JWKSURI: "https://me@a"}, "jwksURI: must have no user and no fragment"},
		{"refuses a fragment", jwksource.Source{JWKSURI: "https://a/#"}, "jwksURI: must have no user and no fragment"},
		{"refuses port 0", jwksource.Source{JWKSURI: "https://a:0"}, "jwksURI: must have a port from 1 to 65535, or none"},
		{"refuses a long URL", jwksource.Source{JWKSURI: "https://a/" + strings.Repeat("a", 512)}, "jwksURI: is longer than 512 bytes"},
		{"refuses an authority that is none", jwksource.Source{JWKSURI: "https://a", CA: "x"}, "certificateAuthority: holds no PEM certificate"},
		{"refuses a key among the authorities", jwksource.Source{JWKSURI: "https://a", CA: strings.ReplaceAll(ca, "CERTIFICATE", "PRIVATE KEY")}, "certificateAuthority: must hold PEM certificates and nothing else"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := ""
			if err := tc.source.Check(); err != nil {
				got = err.Error()
			}
			if got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}
