package sidecar_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestRequestIsJudgedByItsTokenAndThePolicy(t *testing.T) {
	w := newProtectedApp(t)
	now := time.Now()
	alice := w.token("alice", map[string]any{"roles": []string{"admin"}})
	bob := w.token("bob", map[string]any{"roles": []string{"viewer"}})
	stranger := newKey(t, "ES256")

	tests := []struct {
		name      string
		path      string
		token     string
		status    int
		reason    string // as it is recorded
		told      string // where callers get to hear another
		challenge string
	}{
		{"a token lets pass", "/orders", bob, 200, "", "", ""},
		{"the required role lets pass", "/admin/users", alice, 200, "", "", ""},
		{"an anonymous path needs nothing", "/public/a", "", 200, "", "", ""},
		{"an anonymous path ignores a bad token", "/public/a", "rubbish", 200, "", "", ""},
		{"no token", "/orders", "", 401, "token_required", "", `Bearer realm="app"`},
		{"rubbish", "/orders", "rubbish", 401, "malformed", "invalid_token", `Bearer error="invalid_token"`},
		{
			"an expired token", "/orders", w.token("alice", map[string]any{"exp": now.Add(-time.Minute).Unix()}), 401, "expired", "",
			`Bearer error="invalid_token", error_description="expired"`,
		},
		{
			"a token for somebody else", "/orders", w.token("alice", map[string]any{"aud": "bank"}), 401, "wrong_audience", "invalid_token",
			`Bearer error="invalid_token"`,
		},
		{
			"a token of an unknown issuer", "/orders", w.token("alice", map[string]any{"iss": "https://evil.example"}), 401, "unknown_issuer", "invalid_token",
			`Bearer error="invalid_token"`,
		},
		{
			"a token by a key that nobody published", "/orders", w.tokenBy(stranger, "alice", nil), 401, "unknown_key", "invalid_token",
			`Bearer error="invalid_token"`,
		},
		{"a missing role", "/admin/users", bob, 403, "claims_not_met", "", `Bearer error="insufficient_scope"`},
		{"a path that is closed to all", "/closed", alice, 403, "denied", "", ""},
		{"a path that is closed to all, without a token", "/closed", "", 403, "denied", "", ""},
		{"an encoded slash", "/public/..%2fadmin", alice, 400, "ambiguous_path", "", ""},
		{"a double slash", "//admin", alice, 400, "ambiguous_path", "", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := w.do("GET", test.path, test.token)
			told := test.told
			if told == "" {
				told = test.reason
			}
			if got.Status != test.status || got.reason() != told {
				t.Errorf("got %d %q, want %d %q", got.Status, got.reason(), test.status, told)
			}
			if got.Status != 200 && w.decisions()[0].Reason != test.reason {
				t.Errorf("got %q recorded, want %q", w.decisions()[0].Reason, test.reason)
			}
			if challenge := got.Header.Get("WWW-Authenticate"); challenge != test.challenge {
				t.Errorf("got WWW-Authenticate %q, want %q", challenge, test.challenge)
			}
			if test.status != 200 && got.Header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("got Content-Type %q, want application/problem+json", got.Header.Get("Content-Type"))
			}
		})
	}
}

func TestTokenOfEveryAlgorithmIsVerified(t *testing.T) {
	for _, algorithm := range []string{"ES256", "RS256", "EdDSA", "HS256"} {
		t.Run(algorithm, func(t *testing.T) {
			w := newWorld(t)
			w.key = newKey(t, algorithm)
			w.serveApp(http.HandlerFunc(echo))
			b := w.bundle()
			b.Issuers[0].Symmetric = algorithm == "HS256"
			w.mount(b)
			w.start()
			for range 2 { // verified, then from the cache
				if got := w.do("GET", "/", w.token("alice", nil)).Status; got != 200 {
					t.Errorf("got status %d, want 200", got)
				}
			}
		})
	}
}

func TestSymmetricKeyInAPublicBundleIsRefused(t *testing.T) {
	w := newWorld(t)
	w.key = newKey(t, "HS256")
	w.mount(w.bundle()) // symmetric is not set
	w.start()
	if got := w.applied().Volumes["latchkey-bundle"].Error; !strings.Contains(got, "issuers[0].keys") {
		t.Errorf("got error %q, want one that names issuers[0].keys", got)
	}
}

func TestCachedTokenDiesWithItsExpiry(t *testing.T) {
	w := newProtectedApp(t)
	token := w.token("alice", map[string]any{"exp": time.Now().Add(2 * time.Second).Unix()})
	if got := w.do("GET", "/", token).Status; got != 200 {
		t.Fatalf("got status %d, want 200 while the token is valid", got)
	}
	w.eventually("the token is refused", func() bool { return w.do("GET", "/", token).reason() == "expired" })
}

func TestCachedTokenDiesWithItsKey(t *testing.T) {
	w := newWorld(t)
	w.serveApp(http.HandlerFunc(echo))
	b := w.bundle()
	b.Issuers[0].Keys = jwks(t, w.key.Public(time.Now().Add(2*time.Second)))
	w.mount(b)
	w.start()
	token := w.token("alice", nil)
	if got := w.do("GET", "/", token).Status; got != 200 {
		t.Fatalf("got status %d, want 200 while the key is good", got)
	}
	w.eventually("the token is refused", func() bool { return w.do("GET", "/", token).reason() == "key_expired" })
}

func TestSeveralCredentialsAreRefusedEverywhere(t *testing.T) {
	w := newProtectedApp(t)
	got := w.do("GET", "/public", w.token("alice", nil), "Authorization: Basic YTpi")
	if got.Status != 400 || got.reason() != "several_credentials" {
		t.Errorf("got %d %q, want 400 several_credentials", got.Status, got.reason())
	}
}

func TestRequestReachesTheAppAsItWasSent(t *testing.T) {
	w := newProtectedApp(t)
	got := w.send("PUT", "http://"+w.podIP+":"+port+"/public/a%20b?x=1;y=%zz&x=2", "", "the body", "X-Own: 1", "X-Forwarded-For: 192.0.2.7",
		"X-Forwarded-Proto: https", "User-Agent: test", "Accept-Encoding: br").seen(t)
	want := seen{
		Method: "PUT", URI: "/public/a%20b?x=1;y=%zz&x=2", Host: w.podIP + ":" + port, Body: "the body",
		Header: http.Header{
			"Accept-Encoding": {"br"}, "Content-Length": {"8"}, "User-Agent": {"test"}, "X-Own": {"1"},
			"X-Forwarded-For": {"192.0.2.7, 127.0.0.1"}, "X-Forwarded-Proto": {"https"},
		},
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("got -, want +:\n%s", diff)
	}
}

func TestAppThatIsDownIsABadGateway(t *testing.T) {
	w := newWorld(t)
	w.mount(w.bundle())
	w.start()
	got := w.do("GET", "/", w.token("alice", nil))
	if got.Status != 502 || got.reason() != "app_unreachable" {
		t.Errorf("got %d %q, want 502 app_unreachable", got.Status, got.reason())
	}
	w.serveApp(http.HandlerFunc(echo))
	if got := w.do("GET", "/", w.token("alice", nil)); got.Status != 200 {
		t.Errorf("got %d, want 200 as soon as the app is there", got.Status)
	}
}

func TestAppThatBreaksOffIsABadGateway(t *testing.T) {
	w := newWorld(t)
	w.serveApp(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	w.mount(w.bundle())
	w.start()
	got := w.do("POST", "/", w.token("alice", nil))
	if got.Status != 502 || got.reason() != "app_failed" {
		t.Errorf("got %d %q, want 502 app_failed", got.Status, got.reason())
	}
}

func TestAppThatAnswersRubbishDoesNotFillTheLog(t *testing.T) {
	w := newWorld(t)
	w.serveApp(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		connection, _, err := http.NewResponseController(rw).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer connection.Close()
		_, _ = io.WriteString(connection, "rubbish "+strings.Repeat("z", 100_000)+"\r\n")
	}))
	w.mount(w.bundle())
	w.start()
	if got := w.do("GET", "/public", ""); got.Status != 502 || got.reason() != "app_failed" {
		t.Errorf("got %d %q, want 502 app_failed", got.Status, got.reason())
	}
	if strings.Contains(w.log.String(), strings.Repeat("z", 250)) {
		t.Error("the log holds what the app sent, want the beginning of it at most")
	}
}

func TestWithoutABundleEverythingIsRefused(t *testing.T) {
	w := newWorld(t)
	w.serveApp(http.HandlerFunc(echo))
	w.start()
	for _, path := range []string{"/", "/public", "/healthz"} {
		got := w.do("GET", path, "")
		if got.Status != 503 || got.reason() != "no_policy" || got.Header.Get("Retry-After") == "" {
			t.Errorf("%s: got %d %q, want 503 no_policy with a Retry-After", path, got.Status, got.reason())
		}
	}
	if got := w.admin("/readyz").Status; got != 503 {
		t.Errorf("got readyz %d, want 503", got)
	}
	w.waitApplied(w.mount(w.bundle()))
	if got := w.do("GET", "/public", "").Status; got != 200 {
		t.Errorf("got %d, want 200 as soon as there is a bundle", got)
	}
	if got := w.admin("/readyz").Status; got != 200 {
		t.Errorf("got readyz %d, want 200", got)
	}
}

func TestPolicyWithoutIssuersTakesNoToken(t *testing.T) {
	w := newWorld(t)
	w.serveApp(http.HandlerFunc(echo))
	b := w.bundle()
	b.Issuers = nil
	w.mount(b)
	w.start()
	if got := w.do("GET", "/public", "").Status; got != 200 {
		t.Errorf("got %d, want 200 on an anonymous path", got)
	}
	if got := w.do("GET", "/", w.token("alice", nil)); got.Status != 401 || got.reason() != "invalid_token" {
		t.Errorf("got %d %q, want 401 invalid_token", got.Status, got.reason())
	}
}

func TestOtherSpellingsOfAGuardedPathAreRefused(t *testing.T) {
	w := newProtectedApp(t)
	bob := w.token("bob", nil)
	for path, want := range map[string]string{
		"/Admin": "claims_not_met", "/ADMIN/users/": "claims_not_met", "/%41dmin": "claims_not_met", "/Closed": "denied", "/closed/": "denied",
	} {
		if got := w.do("GET", path, bob); got.Status != 403 || got.reason() != want {
			t.Errorf("%s: got %d %q, want 403 %s", path, got.Status, got.reason(), want)
		}
	}
	if got := w.do("GET", "/Public", ""); got.Status != 401 {
		t.Errorf("got %d, want 401: only /public is open to all", got.Status)
	}
}
