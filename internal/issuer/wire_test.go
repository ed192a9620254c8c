package issuer_test

import (
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/latchkey-dev/latchkey/internal/issuer"
)

func TestLoginRefuses(t *testing.T) {
	w := start(t)
	for _, tc := range []struct {
		name, body string
		status     int
		reason     issuer.Reason
	}{
		{"a wrong password", `{"username":"alice","password":"wrong"}`, http.StatusUnauthorized, issuer.ReasonInvalidCredentials},
		{"another user's password", `{"username":"alice","password":"` + passwordOf("bob") + `"}`, http.StatusUnauthorized, issuer.ReasonInvalidCredentials},
		{"a user who does not exist", `{"username":"the password of mallory","password":"x"}`, http.StatusUnauthorized, issuer.ReasonInvalidCredentials},
		{"no password", `{"username":"alice"}`, http.StatusUnauthorized, issuer.ReasonInvalidCredentials},
		{"a member that nobody knows", `{"username":"alice","password":"x","admin":true}`, http.StatusBadRequest, issuer.ReasonMalformed},
		{"a member twice", `{"username":"alice","password":"x","username":"bob"}`, http.StatusBadRequest, issuer.ReasonMalformed},
		{"a member in another case", `{"Username":"alice","password":"x"}`, http.StatusBadRequest, issuer.ReasonMalformed},
		{"a wrong type", `{"username":["alice"],"password":"x"}`, http.StatusBadRequest, issuer.ReasonMalformed},
		{"no JSON", `username=alice&password=x`, http.StatusBadRequest, issuer.ReasonMalformed},
		{"half of it", `{"username":"alice"`, http.StatusBadRequest, issuer.ReasonMalformed},
		{"two objects", `{"username":"alice","password":"x"}{}`, http.StatusBadRequest, issuer.ReasonMalformed},
		{"more than 16 KiB", `{"username":"alice","password":"` + strings.Repeat("x", 17<<10) + `"}`, http.StatusBadRequest, issuer.ReasonMalformed},
		{"a NUL in a name", `{"username":"alice\u0000","password":"x"}`, http.StatusBadRequest, issuer.ReasonMalformed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			refused(t, w.do(w.post("/login", "", tc.body)), tc.status, tc.reason, false)
		})
	}
}

func TestRequestsAreRefused(t *testing.T) {
	w := start(t)
	token := w.login("alice").refresh()
	login := func() *http.Request { return w.loginRequest("alice", passwordOf("alice")) }
	with := func(r *http.Request, header string, values ...string) *http.Request {
		r.Header[header] = values
		return r
	}
	method := func(r *http.Request, m string) *http.Request { r.Method = m; return r }
	for _, tc := range []struct {
		name    string
		request *http.Request
		status  int
		reason  issuer.Reason
	}{
		{"a route that is not there", w.get("/admin"), http.StatusNotFound, issuer.ReasonNotFound},
		{"the root", w.get("/"), http.StatusNotFound, issuer.ReasonNotFound},
		{"GET for login", w.get("/login"), http.StatusMethodNotAllowed, issuer.ReasonMethodNotAllowed},
		{"GET for refresh", w.get("/refresh"), http.StatusMethodNotAllowed, issuer.ReasonMethodNotAllowed},
		{"GET for logout", w.get("/logout"), http.StatusMethodNotAllowed, issuer.ReasonMethodNotAllowed},
		{"PUT for refresh", method(w.post("/refresh", token, ""), http.MethodPut), http.StatusMethodNotAllowed, issuer.ReasonMethodNotAllowed},
		{"POST for the keys", w.post("/.well-known/jwks.json", "", ""), http.StatusMethodNotAllowed, issuer.ReasonMethodNotAllowed},
		{"a login that a form can send", with(login(), "Content-Type", "text/plain"), http.StatusUnsupportedMediaType, issuer.ReasonMalformed},
		{"a login from another site", with(login(), "Sec-Fetch-Site", "cross-site"), http.StatusForbidden, issuer.ReasonCrossOrigin},
		{"a refresh from another site", with(w.post("/refresh", token, ""), "Sec-Fetch-Site", "cross-site"), http.StatusForbidden, issuer.ReasonCrossOrigin},
		{"a refresh from a neighbouring domain", with(w.post("/refresh", token, ""), "Sec-Fetch-Site", "same-site"), http.StatusForbidden, issuer.ReasonCrossOrigin},
		{"a refresh from another origin", with(w.post("/refresh", token, ""), "Origin", "https://evil.example"), http.StatusForbidden, issuer.ReasonCrossOrigin},
		{"a logout from another origin", with(w.post("/logout", token, ""), "Origin", "null"), http.StatusForbidden, issuer.ReasonCrossOrigin},
		{"two cookies of the name", with(w.post("/refresh", "", ""), "Cookie", issuer.CookieName+"="+token+"; "+issuer.CookieName+"=tossed"), http.StatusBadRequest, issuer.ReasonMalformed},
		{"two cookies of the name in two headers", with(w.post("/refresh", "", ""), "Cookie", issuer.CookieName+"=tossed", issuer.CookieName+"="+token), http.StatusBadRequest, issuer.ReasonMalformed},
		{"the same cookie twice", with(w.post("/logout", "", ""), "Cookie", issuer.CookieName+"="+token+"; "+issuer.CookieName+"="+token), http.StatusBadRequest, issuer.ReasonMalformed},
		{"a cookie of another name", with(w.post("/refresh", "", ""), "Cookie", "latchkey-refresh="+token), http.StatusUnauthorized, issuer.ReasonNoSession},
		{"a prefix that ends the cookie's path", with(w.post("/refresh", token, ""), "X-Forwarded-Prefix", "/auth; Domain=example"), http.StatusBadRequest, issuer.ReasonMalformed},
		{"a prefix that is no path", with(w.post("/refresh", token, ""), "X-Forwarded-Prefix", "auth"), http.StatusBadRequest, issuer.ReasonMalformed},
		{"two prefixes", with(w.post("/refresh", token, ""), "X-Forwarded-Prefix", "/a", "/b"), http.StatusBadRequest, issuer.ReasonMalformed},
		{"a position that is no number", w.asSidecar(w.get("/revocations?after=x")), http.StatusBadRequest, issuer.ReasonMalformed},
		{"a negative position", w.asSidecar(w.get("/revocations?after=-1")), http.StatusBadRequest, issuer.ReasonMalformed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := w.do(tc.request)
			refused(t, a, tc.status, tc.reason, false)
			if got, want := a.header.Get("Content-Type"), "application/problem+json"; got != want {
				t.Errorf("Content-Type: got %q, want %q", got, want)
			}
		})
	}
	w.mustRefresh(token) // nothing of that did any harm
}

func TestOwnOriginsAreServed(t *testing.T) {
	w := start(t)
	token := w.login("alice").refresh()
	r := w.post("/refresh", token, "")
	r.Host = "shop.example.com" // as the sidecar keeps it
	r.Header.Set("Origin", "https://shop.example.com")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	if got := w.do(r); got.status != http.StatusOK {
		t.Errorf("got %d %s, want 200", got.status, got.body)
	}
}

func TestWithoutAPrefixTheCookieIsForEverything(t *testing.T) {
	w := start(t)
	r := w.loginRequest("alice", passwordOf("alice"))
	r.Header.Del("X-Forwarded-Prefix")
	a := w.do(r)
	if a.cookie == nil || a.cookie.Path != "/" {
		t.Errorf("cookie: got %v, want Path=/", a.cookie)
	}
}

func TestTooManySignInsAtOnceAreSentAway(t *testing.T) {
	for _, processors := range []int{2, 64} { // the memory is the same, so many processors do not mean many checks
		t.Run(fmt.Sprintf("with %d processors", processors), func(t *testing.T) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(processors))
			tooManySignIns(t)
		})
	}
}

func tooManySignIns(t *testing.T) {
	w := start(t)
	const total = 600
	answers := make([]answer, total)
	var wg sync.WaitGroup
	for i := range answers {
		// Each a name and a network of its own, so that none is a guess too many.
		r := w.from(w.loginRequest(fmt.Sprintf("user %d", i), "wrong"), fmt.Sprintf("10.%d.%d.1", i/256, i%256))
		wg.Go(func() {
			var err error
			if answers[i], err = w.try(r); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	count := map[int]int{}
	for _, a := range answers {
		count[a.status]++
		if a.status == http.StatusTooManyRequests && a.header.Get("Retry-After") == "" {
			t.Error("429 without Retry-After")
		}
	}
	if count[http.StatusUnauthorized] == 0 || count[http.StatusTooManyRequests] == 0 || count[http.StatusUnauthorized]+count[http.StatusTooManyRequests] != total {
		t.Errorf("answers by status: got %v, want some 401 and some 429", count)
	}
	w.login("alice") // and when it is over, it is over
}
