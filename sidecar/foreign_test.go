package sidecar_test

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/latchkey-dev/latchkey/internal/bundle"
	"github.com/latchkey-dev/latchkey/internal/signing"
	"github.com/latchkey-dev/latchkey/test/foreignissuer"
)

// foreign makes the bundle's only issuer one that publishes its keys itself. Without keys it is one whose keys nobody could fetch.
func (w *world) foreign(issuer *foreignissuer.Issuer, keys ...*signing.Key) *bundle.Bundle {
	w.Helper()
	b := w.bundle(keys...)
	b.Issuers[0].URL, b.Issuers[0].Foreign = issuer.URL, &bundle.Foreign{JWKSURI: issuer.JWKSURI, CA: issuer.CA}
	if len(keys) == 0 {
		b.Issuers[0].Keys = nil
	}
	return b
}

func TestAForeignIssuersNewKeyIsTakenBeforeAnybodyBringsIt(t *testing.T) {
	w, issuer := newWorld(t), foreignissuer.Start(t, foreignissuer.Address(t))
	w.serveApp(http.HandlerFunc(echo))
	fresh := newKey(t, "ES256")
	issuer.Publish(t, w.key, fresh)
	w.mount(w.foreign(issuer, w.key))
	w.start()
	of := map[string]any{"iss": issuer.URL}
	w.do("GET", "/", w.token("alice", of)).seen(t)
	if got := issuer.Asked(); got != 0 {
		t.Errorf("got %d requests for a key that is known, want none", got)
	}
	stream := w.dial() // a connection that is open all the while
	w.do("GET", "/", w.tokenBy(fresh, "bob", of)).seen(t)
	if got := w.do("GET", "/", w.tokenBy(newKey(t, "ES256"), "eve", of)); got.Status != http.StatusUnauthorized || got.reason() != "invalid_token" || w.decisions()[0].Reason != "unknown_key" {
		t.Errorf("a key of nobody's: got %d %s", got.Status, got.reason())
	}
	if got := issuer.Asked(); got != 1 {
		t.Errorf("got %d requests, want 1", got)
	}
	if _, err := io.WriteString(stream, "GET /public HTTP/1.1\r\nHost: app\r\n\r\n"); err != nil {
		t.Error(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(stream), nil)
	check(t, err)
	readAnswer(t, response).seen(t)
	if got := w.admin("/metrics").Body; !strings.Contains(got, `latchkey_sidecar_key_refetches_total{outcome="fetched"} 1`) {
		t.Error("the metrics do not tell of it")
	}
}

func TestAnIssuerWithoutKeysIsNoReasonToSignOut(t *testing.T) {
	w, issuer := newWorld(t), foreignissuer.Start(t, foreignissuer.Address(t))
	w.serveApp(http.HandlerFunc(echo))
	w.mount(w.foreign(issuer))
	w.start()
	token := w.token("alice", map[string]any{"iss": issuer.URL})
	got := w.do("GET", "/", token)
	if got.Status != http.StatusServiceUnavailable || got.reason() != "issuer_unavailable" || got.Header.Get("Retry-After") == "" || got.Header.Get("WWW-Authenticate") != "" {
		t.Errorf("got %d %s %v, want 503 with a Retry-After", got.Status, got.reason(), got.Header)
	}
	if got := w.do("GET", "/public", token).seen(t); got.Header.Get("X-Auth-Subject") != "" {
		t.Errorf("got %v, want nobody where nobody has to be", got.Header)
	}
	w.mount(w.foreign(issuer, w.key)) // the manager got through
	w.eventually("the keys are in force", func() bool { return w.do("GET", "/", token).Status == http.StatusOK })
}

// TestTheSidecarDialsNoLoopback has an issuer there that would answer.
func TestTheSidecarDialsNoLoopback(t *testing.T) {
	w, issuer := newWorld(t), foreignissuer.Start(t, "127.0.0.1")
	w.serveApp(http.HandlerFunc(echo))
	issuer.Publish(t, w.key)
	w.mount(w.foreign(issuer))
	w.start()
	if got := w.do("GET", "/", w.token("alice", map[string]any{"iss": issuer.URL})); got.Status != http.StatusServiceUnavailable {
		t.Errorf("got %d, want 503", got.Status)
	}
	if got := issuer.Asked(); got != 0 {
		t.Errorf("got %d requests on loopback", got)
	}
	if got := w.admin("/metrics").Body; !strings.Contains(got, `latchkey_sidecar_key_refetches_total{outcome="address"} 1`) {
		t.Error("the metrics do not tell of it")
	}
}
