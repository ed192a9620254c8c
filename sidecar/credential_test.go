package sidecar_test

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/latchkey-dev/latchkey/internal/credential"
	"github.com/latchkey-dev/latchkey/internal/crossorigin"
)

// newAppWithTokenSources is the usual pod, where tokens may also stand elsewhere.
func newAppWithTokenSources(t *testing.T, keep bool) *world {
	t.Helper()
	w := newWorld(t)
	w.serveApp(http.HandlerFunc(echo))
	b := w.bundle()
	b.Policy.KeepToken = keep
	b.TokenSources = []credential.Source{{Header: "Authorization"}, {Cookie: "access_token"}, {Query: "token"}, {WebSocketProtocol: "bearer"}}
	b.CORS = &crossorigin.Document{AllowOrigins: []string{"https://shop.example"}, AllowCredentials: true}
	w.mount(b)
	w.start()
	return w
}

func TestTokenIsTakenFromEachSourceAndKeptFromTheApp(t *testing.T) {
	w := newAppWithTokenSources(t, false)
	token := w.token("alice", nil)
	tests := []struct {
		name, uri string
		headers   []string
		wantURI   string
	}{
		{"a cookie", "/orders?a=1", []string{"Cookie: theme=dark;access_token=" + token + "; b=2"}, "/orders?a=1"},
		{"a parameter", "/orders?a=%zz&token=" + token + "&&b=2", nil, "/orders?a=%zz&&b=2"},
		{"the only parameter", "/orders?token=" + token, nil, "/orders"},
		{"a WebSocket protocol", "/orders", []string{"Sec-WebSocket-Protocol: chat, bearer, " + token}, "/orders"},
		{"a header", "/orders?", []string{"Authorization: Bearer " + token}, "/orders?"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			answers := w.raw(append(append([]string{"GET " + test.uri + " HTTP/1.1", "Host: app"}, test.headers...), "", "")...)
			if len(answers) != 1 {
				t.Fatalf("got %d answers, want 1", len(answers))
			}
			got := answers[0].seen(t)
			if got.URI != test.wantURI || got.Header.Get("X-Auth-Subject") != "alice" {
				t.Errorf("got %s for %q at the app, want %s for alice", got.URI, got.Header.Get("X-Auth-Subject"), test.wantURI)
			}
			if strings.Contains(answers[0].Body, token) {
				t.Errorf("got the token at the app: %s", answers[0].Body)
			}
		})
	}
	if got := w.decisions(); len(got) != len(tests) { // the last word of raw is one refusal each
		t.Errorf("got %d decisions, want %d", len(got), len(tests))
	}
}

func TestTokenIsKeptWhereItStoodWhenThePolicySaysSo(t *testing.T) {
	w := newAppWithTokenSources(t, true)
	token := w.token("alice", nil)
	if got, want := w.do("GET", "/orders?a=1&token="+token, "").seen(t).URI, "/orders?a=1&token="+token; got != want {
		t.Errorf("got %s at the app, want %s", got, want)
	}
	if got, want := w.do("GET", "/", "", "Cookie: a=1;access_token="+token).seen(t).Header.Get("Cookie"), "a=1;access_token="+token; got != want {
		t.Errorf("got Cookie %s at the app, want %s", got, want)
	}
	// One that is not valid is never kept.
	if got, want := w.do("GET", "/public?a=1&token=rubbish", "").seen(t).URI, "/public?a=1"; got != want {
		t.Errorf("got %s at the app, want %s", got, want)
	}
}

func TestTokensInTwoPlacesAreRefused(t *testing.T) {
	w := newAppWithTokenSources(t, false)
	token := w.token("alice", nil)
	for _, path := range []string{"/orders?token=" + token, "/public?%74oken%5b%5d=" + token} {
		got := w.do("GET", path, token)
		if got.Status != 400 || got.reason() != "several_credentials" {
			t.Errorf("%.20s: got %d %q, want 400 several_credentials", path, got.Status, got.reason())
		}
	}
}

func TestCookieCountsForNothingWhenAnotherSiteSendsIt(t *testing.T) {
	w := newAppWithTokenSources(t, false)
	cookie := "Cookie: access_token=" + w.token("alice", nil)
	evil := []string{cookie, "Origin: https://evil.example", "Sec-Fetch-Site: cross-site"}
	tests := []struct {
		name, method, path string
		headers            []string
		status             int
		reason, subject    string
	}{
		{"another site changes something", "POST", "/orders", evil, 403, "cross_origin", ""},
		{"another site's handshake", "GET", "/orders", append([]string{"Connection: Upgrade", "Upgrade: websocket"}, evil...), 403, "cross_origin", ""},
		{"another site reads: CORS keeps the answer from it", "GET", "/orders", evil, 200, "", "alice"},
		{"where everybody may pass, as nobody", "POST", "/public", evil, 200, "", ""},
		{"an origin that may act with credentials", "POST", "/orders", []string{cookie, "Origin: https://shop.example", "Sec-Fetch-Site: cross-site"}, 200, "", "alice"},
		{"the app's own origin", "POST", "/orders", []string{cookie, "Origin: http://" + w.podIP + ":" + port}, 200, "", "alice"},
		{"a header is not sent by browsers alone", "POST", "/orders", append([]string{"Authorization: Bearer " + w.token("bob", nil)}, evil[1:]...), 200, "", "bob"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := w.do(test.method, test.path, "", test.headers...)
			if got.Status != test.status || got.reason() != test.reason {
				t.Fatalf("got %d %q, want %d %q", got.Status, got.reason(), test.status, test.reason)
			}
			if got.Status == 200 && got.seen(t).Header.Get("X-Auth-Subject") != test.subject {
				t.Errorf("got %q at the app, want %q", got.seen(t).Header.Get("X-Auth-Subject"), test.subject)
			}
		})
	}
}

func TestHandshakeIsAnsweredWithAProtocolThatTheBrowserOffered(t *testing.T) {
	for _, test := range []struct {
		name, offered, chosen string // chosen by the app
		app                   []string
		want                  string
	}{
		{"the app chooses none", "Bearer, TOKEN", "", nil, "Bearer"},
		{"the app chooses one", "chat, bearer, TOKEN, v2", "v2", []string{"chat, v2"}, "v2"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			w.serveApp(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				if diff := cmp.Diff(r.Header["Sec-Websocket-Protocol"], test.app); diff != "" {
					t.Errorf("got -, want + of the protocols at the app:\n%s", diff)
				}
				connection, _, err := http.NewResponseController(rw).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				defer connection.Close()
				answer := "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
				if test.chosen != "" {
					answer += "Sec-WebSocket-Protocol: " + test.chosen + "\r\n"
				}
				_, _ = io.WriteString(connection, answer+"\r\n")
			}))
			b := w.bundle()
			b.TokenSources = []credential.Source{{WebSocketProtocol: "bearer"}}
			w.mount(b)
			w.start()
			connection := w.dial()
			_, err := io.WriteString(connection, "GET /orders HTTP/1.1\r\nHost: app\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: "+
				strings.Replace(test.offered, "TOKEN", w.token("alice", nil), 1)+"\r\n\r\n")
			check(t, err)
			response, err := http.ReadResponse(bufio.NewReader(connection), nil)
			check(t, err)
			if got := response.Header["Sec-Websocket-Protocol"]; response.StatusCode != 101 || cmp.Diff(got, []string{test.want}) != "" {
				t.Errorf("got %d and %q, want 101 and %s", response.StatusCode, got, test.want)
			}
		})
	}
}
