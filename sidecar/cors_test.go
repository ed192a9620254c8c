package sidecar_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/latchkey-dev/latchkey/internal/crossorigin"
)

const trustedPage = "Origin: https://shop.example"

// cors is what an answer says about other origins.
func (a answer) cors() http.Header {
	found := http.Header{}
	for name, values := range a.Header {
		if strings.HasPrefix(name, "Access-Control-") || name == "Vary" {
			found[name] = values
		}
	}
	return found
}

func TestEveryAnswerSaysWhoMayReadIt(t *testing.T) {
	w := newWorld(t)
	service := w.newTokenService()
	service.serve()
	service.answer = func(_ http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Origin") != "" || r.Header.Get("Sec-Fetch-Site") != "" {
			t.Errorf("got %v at the token service, want no word of the other origin: it was judged here", r.Header)
		}
	}
	w.serveApp(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Access-Control-Allow-Origin", "*")
		rw.Header().Set("Vary", "Accept-Encoding")
		echo(rw, r)
	}))
	b := service.in(w.bundle())
	b.CORS = &crossorigin.Document{
		AllowOrigins: []string{"https://shop.example"}, AllowMethods: []string{"PUT"}, AllowHeaders: []string{"Authorization"}, AllowCredentials: true, MaxAgeSeconds: 60,
	}
	w.mount(b)
	w.start()

	readable := http.Header{"Access-Control-Allow-Origin": {"https://shop.example"}, "Access-Control-Allow-Credentials": {"true"}, "Vary": {"Origin"}}
	ofTheApp := readable.Clone()
	ofTheApp["Vary"] = []string{"Accept-Encoding", "Origin"}
	preflight := readable.Clone()
	preflight["Access-Control-Allow-Methods"], preflight["Access-Control-Allow-Headers"] = []string{"PUT"}, []string{"Authorization"}
	preflight["Access-Control-Max-Age"] = []string{"60"}
	nothing := http.Header{"Vary": {"Origin"}}
	asks := []string{trustedPage, "Access-Control-Request-Method: PUT"}

	tests := []struct {
		name, method, path string
		headers            []string
		status             int
		reason             string
		want               http.Header
	}{
		{"of the app", "GET", "/public", []string{trustedPage}, 200, "", ofTheApp},
		{"of the app, to another origin", "GET", "/public", []string{"Origin: https://evil.example"}, 200, "", http.Header{"Vary": {"Accept-Encoding", "Origin"}}},
		{"401", "GET", "/orders", []string{trustedPage}, 401, "token_required", readable},
		{"403", "GET", "/closed", []string{trustedPage}, 403, "denied", readable},
		{"400", "GET", "/a;b", []string{trustedPage}, 400, "ambiguous_path", readable},
		{"of the token service", "POST", "/auth/login", []string{trustedPage, "Sec-Fetch-Site: same-site"}, 200, "", readable},
		{"404 below the session prefix", "GET", "/auth/other", []string{trustedPage}, 404, "no_such_route", readable},
		{"a preflight", "OPTIONS", "/orders", asks, 204, "", preflight},
		{"a preflight of a session route", "OPTIONS", "/auth/login", asks, 204, "", preflight},
		{"a preflight of another origin", "OPTIONS", "/orders", []string{"Origin: https://evil.example", "Access-Control-Request-Method: PUT"}, 403, "origin_refused", nothing},
		{"a preflight of nobody", "OPTIONS", "/orders", []string{"Origin: null", "Access-Control-Request-Method: PUT"}, 403, "origin_refused", nothing},
		{"OPTIONS that is no preflight is judged", "OPTIONS", "/orders", []string{trustedPage}, 401, "token_required", readable},
		{"OPTIONS that is no preflight, without an origin", "OPTIONS", "/orders", []string{"Access-Control-Request-Method: PUT"}, 401, "token_required", nothing},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := w.do(test.method, test.path, "", test.headers...)
			if got.Status != test.status || got.reason() != test.reason {
				t.Errorf("got %d %q, want %d %q", got.Status, got.reason(), test.status, test.reason)
			}
			if diff := cmp.Diff(got.cors(), test.want); diff != "" {
				t.Errorf("got -, want +:\n%s", diff)
			}
		})
	}
}

func TestWithoutCORSTheAppSpeaksForItself(t *testing.T) {
	w := newWorld(t)
	w.serveApp(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { rw.Header().Set("Access-Control-Allow-Origin", "*") }))
	w.mount(w.bundle())
	w.start()
	if diff := cmp.Diff(w.do("GET", "/public", "", trustedPage).cors(), http.Header{"Access-Control-Allow-Origin": {"*"}}); diff != "" {
		t.Errorf("got -, want + of the app's answer:\n%s", diff)
	}
	got := w.do("OPTIONS", "/orders", "", trustedPage, "Access-Control-Request-Method: PUT")
	if got.Status != 401 || len(got.cors()) > 0 {
		t.Errorf("got %d with %v, want 401 and nothing about origins", got.Status, got.cors())
	}
}
