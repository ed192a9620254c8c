package sidecar_test

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSignInRoutesGoToTheTokenService(t *testing.T) {
	w, service := newWorldWithTokenService(t)
	service.serve()
	service.answer = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Set-Cookie", "__Secure-latchkey-refresh=new; Path=/auth; HttpOnly; Secure; SameSite=Strict")
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, `{"access_token":"x"}`)
	}
	w.start()
	w.secrets = append(w.secrets, "hunter2", "latchkey-cookie-secret")

	got := w.send("POST", "http://"+w.podIP+":"+port+"/auth/login?next=/", w.token("alice", nil), `{"password":"hunter2"}`,
		"Content-Type: application/json", "Origin: https://shop.example", "Sec-Fetch-Site: same-origin", "User-Agent: browser",
		"Cookie: theme=dark; __Secure-latchkey-refresh=latchkey-cookie-secret", "Cookie: __Secure-latchkey-refresh=tossed",
		"X-Forwarded-For: 192.0.2.7", "X-Forwarded-Prefix: /evil", "X-Auth-Subject: mallory", "X-Other: 1", "Latchkey-Sidecar: forged", "Accept-Encoding: identity",
		"Traceparent: "+incoming, "Tracestate: a=1")
	if got.Status != http.StatusTeapot || got.Body != `{"access_token":"x"}` || !strings.HasPrefix(got.Header.Get("Set-Cookie"), "__Secure-") {
		t.Errorf("got %+v, want the token service's answer", got)
	}
	want := []asked{{
		Path: "/login", Host: w.podIP + ":" + port, Body: `{"password":"hunter2"}`,
		Header: http.Header{
			"Content-Type": {"application/json"}, "Content-Length": {"22"}, "Origin": {"https://shop.example"}, "Sec-Fetch-Site": {"same-origin"},
			"User-Agent": {"browser"}, "X-Forwarded-For": {"127.0.0.1"}, "X-Forwarded-Prefix": {"/auth"}, "Latchkey-Sidecar": {service.token.Encode()},
			"Traceparent": {incoming}, "Tracestate": {"a=1"},
			"Cookie": {"__Secure-latchkey-refresh=latchkey-cookie-secret", "__Secure-latchkey-refresh=tossed"},
		},
	}}
	if diff := cmp.Diff(service.takeAsked(), want); diff != "" {
		t.Errorf("got -, want + at the token service:\n%s", diff)
	}
}

func TestNothingElseBelowThePrefixGoesAnywhere(t *testing.T) {
	w, service := newWorldWithTokenService(t)
	service.serve()
	w.start()
	tests := []struct {
		name, method, path string
		status             int
		reason             string
	}{
		{"the prefix itself", "GET", "/auth", 404, "no_such_route"},
		{"another route", "POST", "/auth/admin", 404, "no_such_route"},
		{"the stream", "GET", "/auth/revocations", 404, "no_such_route"},
		{"below a route", "POST", "/auth/login/", 404, "no_such_route"},
		{"another method", "GET", "/auth/login", 405, "method_not_allowed"},
		{"a document that is only read", "POST", "/auth/.well-known/jwks.json", 405, "method_not_allowed"},
		{"another document", "GET", "/auth/.well-known/security.txt", 404, "no_such_route"},
		{"the metadata of the app's own issuer", "GET", "/.well-known/oauth-authorization-server", 401, "token_required"},
		{"a climb", "POST", "/auth/login/../../revocations", 400, "ambiguous_path"},
		{"a name that only begins alike is the app's", "GET", "/authors", 401, "token_required"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			answers := w.raw(test.method+" "+test.path+" HTTP/1.1", "Host: app", "Content-Length: 0", "", "")
			if len(answers) != 1 {
				t.Fatalf("got %d answers, want 1", len(answers))
			}
			if got := answers[0]; got.Status != test.status || got.reason() != test.reason {
				t.Errorf("got %d %q, want %d %q", got.Status, got.reason(), test.status, test.reason)
			}
		})
	}
	if got := service.takeAsked(); len(got) > 0 {
		t.Errorf("got %v at the token service, want nothing", got)
	}
	if got := w.do("GET", "/auth/login", "").Header.Get("Allow"); got != "POST" {
		t.Errorf("got Allow %q, want POST", got)
	}
}

func TestDocumentsOfTheTokenServiceAreServedToEverybody(t *testing.T) {
	w, service := newWorldWithTokenService(t)
	service.serve()
	service.answer = func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{}") }
	w.start()
	for _, test := range []struct{ name, path, want string }{
		{"the keys", "/auth/.well-known/jwks.json", "/.well-known/jwks.json"},
		{"the metadata where OpenID Connect looks for it", "/auth/.well-known/openid-configuration", "/.well-known/openid-configuration"},
		{"the metadata below the issuer", "/auth/.well-known/oauth-authorization-server", "/.well-known/oauth-authorization-server"},
		{"the metadata where RFC 8414 looks for it", "/.well-known/oauth-authorization-server/auth", "/.well-known/oauth-authorization-server"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := w.do("GET", test.path+"?x=1", ""); got.Status != 200 || got.Body != "{}" {
				t.Fatalf("got %d %s, want the token service's answer", got.Status, got.Body)
			}
			asked := service.takeAsked()
			if len(asked) != 1 || asked[0].Path != test.want {
				t.Errorf("got %v at the token service, want one request for %s", asked, test.want)
			}
		})
	}
}

func TestTokenServiceThatIsDownCostsNoCookie(t *testing.T) {
	w, service := newWorldWithTokenService(t)
	w.start()
	got := w.do("POST", "/auth/refresh", "", "Cookie: __Secure-latchkey-refresh=secret")
	if got.Status != 503 || got.reason() != "token_service_unreachable" || got.Header.Get("Retry-After") == "" {
		t.Errorf("got %d %q, want 503 token_service_unreachable with a Retry-After", got.Status, got.reason())
	}
	if cookies := got.Header["Set-Cookie"]; len(cookies) > 0 {
		t.Errorf("got Set-Cookie %q, want none", cookies)
	}
	if got := w.do("GET", "/", w.token("alice", nil)).Status; got != 200 {
		t.Errorf("got %d for the app, want 200: it does not depend on the token service", got)
	}
	service.serve()
	if got := w.do("POST", "/auth/refresh", "").Status; got != 200 {
		t.Errorf("got %d, want 200 as soon as the token service is back", got)
	}
}

func TestBodiesOfSignInRoutesAreBounded(t *testing.T) {
	w, service := newWorldWithTokenService(t)
	service.serve()
	w.start()
	url := "http://" + w.podIP + ":" + port + "/auth/login"
	if got := w.send("POST", url, "", strings.Repeat("a", 16<<10)).Status; got != 200 {
		t.Errorf("got %d for 16 KiB, want 200", got)
	}
	if got := w.send("POST", url, "", strings.Repeat("a", 16<<10+1)); got.Status != 413 || got.reason() != "body_too_large" {
		t.Errorf("got %d %q for a byte more, want 413 body_too_large", got.Status, got.reason())
	}
	// In chunks, so that no length is announced.
	request, err := http.NewRequest("POST", url, io.MultiReader(bytes.NewReader(make([]byte, 20<<10))))
	check(t, err)
	response, err := w.client.Do(request)
	check(t, err)
	if got := readAnswer(t, response); got.Status != 413 {
		t.Errorf("got %d for 20 KiB in chunks, want 413", got.Status)
	}
	if got := len(service.takeAsked()); got != 1 {
		t.Errorf("got %d requests at the token service, want 1", got)
	}
}

func TestPolicyWithoutSessionLeavesThePathsToTheApp(t *testing.T) {
	w := newProtectedApp(t)
	if got := w.do("POST", "/auth/login", w.token("alice", nil)).seen(t).URI; got != "/auth/login" {
		t.Errorf("got %q at the app, want /auth/login", got)
	}
}

// A token service that stops closes connections that it takes for idle, and a request may just have been sent on one.
func TestSignInSurvivesAConnectionThatIsClosedUnderIt(t *testing.T) {
	w, service := newWorldWithTokenService(t)
	service.serve()
	requests := 0
	service.answer = func(w http.ResponseWriter, _ *http.Request) {
		if requests++; requests == 2 {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			_ = conn.Close()
		}
	}
	w.start()
	for range 2 {
		if got := w.send("POST", "http://"+w.podIP+":"+port+"/auth/refresh", "", "", "Cookie: __Secure-latchkey-refresh=one"); got.Status != http.StatusOK {
			t.Errorf("got %+v, want the answer of the token service", got)
		}
	}
	asked := service.takeAsked()
	if len(asked) != 3 || len(asked[2].Header["Idempotency-Key"]) > 0 {
		t.Errorf("the token service was asked %+v, want three times, as clients ask", asked)
	}
}
