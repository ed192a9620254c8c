package sidecar_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/websocket"

	"github.com/latchkey-dev/latchkey/internal/bundle"
	"github.com/latchkey-dev/latchkey/internal/policy"
)

const (
	accessCookie  = "__Host-latchkey-access"
	refreshCookie = "__Host-latchkey-refresh"
	attributes    = "; HttpOnly; Secure; SameSite=Lax"
	cleared       = "=; Path=/; Max-Age=0" + attributes
)

// session stands in for what a token service keeps of one user's session.
type session struct {
	w       *world
	mu      sync.Mutex
	counter int
	ended   bool
	claims  map[string]any // changes to those of its access tokens
	hold    chan struct{}  // closed: refreshes are answered; nil: at once
	access  string         // the last one
}

// newRenderedApp is a pod whose app renders pages on the server, and one session of alice.
func newRenderedApp(t *testing.T, change func(*bundle.Bundle)) (*world, *tokenService, *session) {
	t.Helper()
	w := newWorld(t)
	w.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	service := w.newTokenService()
	b := service.in(w.bundle())
	b.Session.ServerRendered = &bundle.ServerRendered{SignInPath: "/public/sign-in"}
	if change != nil {
		change(b)
	}
	w.mount(b)
	s := &session{w: w, counter: 1}
	service.answer = s.serve
	return w, service, s
}

func (s *session) refreshToken() string {
	return fmt.Sprintf("latchkey-refresh-of-alice-%d", s.counter)
}

// serve answers as the token service does.
func (s *session) serve(w http.ResponseWriter, r *http.Request) {
	if s.hold != nil && r.URL.Path == "/refresh" {
		<-s.hold
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	refuse := func(status int, reason string) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(status)
		_, _ = fmt.Fprintf(w, `{"status":%d,"reason":%q}`, status, reason)
	}
	own := ""
	if cookies := r.CookiesNamed("__Secure-latchkey-refresh"); len(cookies) == 1 {
		own = cookies[0].Value
	}
	const clear = "__Secure-latchkey-refresh=; Path=/auth; Max-Age=0; HttpOnly; Secure; SameSite=Strict"
	switch {
	case r.URL.Path == "/logout" || r.URL.Path == "/logout-all" && r.Header.Get("Authorization") == "Bearer "+s.access:
		s.ended = true
		w.Header().Set("Set-Cookie", clear)
		w.WriteHeader(http.StatusNoContent)
		return
	case r.URL.Path == "/logout-all":
		refuse(http.StatusUnauthorized, "invalid_token")
		return
	case r.URL.Path == "/login":
	case s.ended || own == "":
		refuse(http.StatusUnauthorized, "no_session")
		return
	case own != s.refreshToken():
		s.ended = true
		w.Header().Set("Set-Cookie", clear)
		refuse(http.StatusUnauthorized, "reuse_detected")
		return
	}
	s.counter++
	s.access = s.w.token("alice", s.claims)
	s.w.secrets = append(s.w.secrets, s.refreshToken())
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Set-Cookie", "__Secure-latchkey-refresh="+s.refreshToken()+"; Path=/auth; Max-Age=86400; HttpOnly; Secure; SameSite=Strict")
	_, _ = fmt.Fprintf(w, `{"access_token":%q,"token_type":"Bearer","expires_in":300,"refresh_expires_in":86400}`, s.access)
}

// cookies are those that a browser keeps after the last grant.
func (s *session) cookies() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return []string{
		accessCookie + "=" + s.access + "; Path=/; Max-Age=300" + attributes,
		refreshCookie + "=" + s.refreshToken() + "; Path=/; Max-Age=86400" + attributes,
	}
}

// expired is a Cookie header whose access token has ended.
func (s *session) expired() string {
	old := s.w.token("alice", map[string]any{"exp": time.Now().Add(-time.Minute).Unix()})
	return "Cookie: theme=dark; " + accessCookie + "=" + old + "; " + refreshCookie + "=" + s.refreshToken()
}

// absent is a Cookie header as browsers send it once the access cookie has run out.
func (s *session) absent() string {
	return "Cookie: theme=dark; " + refreshCookie + "=" + s.refreshToken()
}

func (a answer) wantCookies(t *testing.T, want []string) {
	t.Helper()
	a.wantCookiesOnly(t, want)
	if got := a.Header.Get("Cache-Control"); len(want) > 0 && got != "no-store" {
		t.Errorf("got Cache-Control %q with cookies, want no-store", got)
	}
}

func TestPageIsAskedForAgainWithARenewedSession(t *testing.T) {
	w, service, s := newRenderedApp(t, nil)
	w.serveApp(http.HandlerFunc(echo))
	service.serve()
	w.start()
	for _, tc := range []struct {
		name    string
		cookies func() string
	}{
		{"when the access token has expired", s.expired}, {"when its cookie has run out", s.absent},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := w.do("GET", "/orders?page=2&q=%7B", "", tc.cookies())
			if got.Status != http.StatusTemporaryRedirect || got.Header.Get("Location") != "/orders?page=2&q=%7B" {
				t.Fatalf("got %d to %q, want 307 to the same page", got.Status, got.Header.Get("Location"))
			}
			got.wantCookies(t, s.cookies())
			page := w.do("GET", "/orders?page=2", "", "Cookie: theme=dark; "+accessCookie+"="+s.access+"; "+refreshCookie+"="+s.refreshToken())
			seen := page.seen(t)
			if seen.Header.Get("X-Auth-Subject") != "alice" {
				t.Errorf("got subject %q at the app, want alice", seen.Header.Get("X-Auth-Subject"))
			}
			if got := seen.Header["Cookie"]; !slices.Equal(got, []string{"theme=dark"}) {
				t.Errorf("got cookies %q at the app, want its own", got)
			}
			if got := page.Header.Get("Cache-Control"); got != "private" {
				t.Errorf("got Cache-Control %q, want private: the page is alice's", got)
			}
		})
	}
	if got := w.metric(`latchkey_sidecar_session_renewals_total{outcome="renewed"}`); got != "2" {
		t.Errorf("got %s renewals counted, want 2", got)
	}
}

func TestManyRequestsAtOnceRenewASessionOnce(t *testing.T) {
	w, service, s := newRenderedApp(t, nil)
	w.serveApp(http.HandlerFunc(echo))
	service.serve()
	s.hold = make(chan struct{})
	w.start()
	const parallel = 50
	header := s.absent()
	answers := make([]answer, parallel)
	var group sync.WaitGroup
	for i := range answers {
		group.Go(func() {
			method := "GET"
			if i%2 == 1 {
				method = "POST"
			}
			answers[i] = w.do(method, fmt.Sprintf("/part/%d", i), "", header, "Sec-Fetch-Site: same-origin")
		})
	}
	w.eventually("all of them wait", func() bool { return w.metric("latchkey_sidecar_requests_in_flight") == fmt.Sprint(parallel) })
	close(s.hold)
	group.Wait()
	late := w.do("GET", "/late", "", header)
	for i, got := range append(answers, late) {
		got.wantCookies(t, s.cookies())
		switch {
		case i%2 == 1 || i == parallel: // what changes things, and who comes late, reach the app at once
			if seen := got.seen(t); seen.Header.Get("X-Auth-Subject") != "alice" || strings.Contains(fmt.Sprint(seen.Header), "latchkey") {
				t.Errorf("got %v at the app, want alice and none of Latchkey's cookies", seen.Header)
			}
		case got.Status != http.StatusTemporaryRedirect:
			t.Errorf("got %d, want 307", got.Status)
		}
	}
	if got := len(service.takeAsked()); got != 1 {
		t.Errorf("got %d refreshes, want 1 for %d requests", got, parallel+1)
	}
}

func TestRenewedSessionReachesTheAppWithWhatCannotBeAskedForAgain(t *testing.T) {
	w, service, s := newRenderedApp(t, nil)
	w.serveApp(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "public, max-age=600")
		w.Header().Set("CDN-Cache-Control", "max-age=600")
		w.Header().Set("Set-Cookie", "own=1")
		echo(w, r)
	}))
	service.serve()
	w.start()
	got := w.send("POST", "http://"+w.podIP+":"+port+"/orders", "", "two pounds of tea", s.absent(), "Sec-Fetch-Site: same-origin")
	if seen := got.seen(t); seen.Body != "two pounds of tea" || seen.Header.Get("X-Auth-Subject") != "alice" {
		t.Errorf("got %+v at the app, want the form of alice", seen)
	}
	got.wantCookies(t, append([]string{"own=1"}, s.cookies()...))
	if got := got.Header.Get("Cdn-Cache-Control"); got != "" {
		t.Errorf("got CDN-Cache-Control %q, want none", got)
	}
	asked := service.takeAsked()
	if len(asked) != 1 || asked[0].Path != "/refresh" || asked[0].Header.Get("X-Forwarded-For") != "127.0.0.1" || len(asked[0].Header["Sec-Fetch-Site"]) > 0 {
		t.Errorf("got %v at the token service, want one refresh for the client's address", asked)
	}
}

func TestNobodyElseRenewsASession(t *testing.T) {
	w, service, s := newRenderedApp(t, nil)
	w.serveApp(http.HandlerFunc(echo))
	service.serve()
	w.start()
	for _, tc := range []struct {
		name, method string
		headers      []string
		status       int
		reason       string
	}{
		{"another site's form", "POST", []string{s.absent(), "Sec-Fetch-Site: cross-site"}, 401, "token_required"},
		{"a neighbour's form, with an access token", "POST",
			[]string{"Cookie: " + accessCookie + "=" + w.token("alice", nil) + "; " + refreshCookie + "=" + s.refreshToken(), "Sec-Fetch-Site: same-site"}, 403, "cross_origin"},
		{"a neighbour's WebSocket", "GET", []string{s.absent(), "Sec-Fetch-Site: same-site", "Connection: Upgrade", "Upgrade: websocket"}, 401, "token_required"},
		{"a script with a token of its own", "GET", []string{s.absent(), "Authorization: Bearer x"}, 401, "invalid_token"},
		{"who has two refresh cookies", "GET", []string{s.absent() + "; " + refreshCookie + "=planted"}, 400, "several_credentials"},
		{"who has two access cookies", "GET", []string{s.absent() + "; " + accessCookie + "=a; " + accessCookie + "=b"}, 400, "several_credentials"},
		{"who has a cookie that a neighbour can plant", "GET", []string{"Cookie: __Secure-latchkey-refresh=" + s.refreshToken()}, 401, "token_required"},
		{"who has it by another spelling", "GET", []string{"Cookie: __host-latchkey-refresh=" + s.refreshToken()}, 401, "token_required"},
		{"who shows an access token of somebody else", "GET", []string{"Cookie: " + accessCookie + "=x.y.z; " + refreshCookie + "=" + s.refreshToken()}, 401, "invalid_token"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := w.do(tc.method, "/orders", "", tc.headers...)
			if got.Status != tc.status || got.reason() != tc.reason {
				t.Errorf("got %d %q, want %d %q", got.Status, got.reason(), tc.status, tc.reason)
			}
			got.wantCookies(t, nil)
		})
	}
	if got := service.takeAsked(); len(got) > 0 {
		t.Errorf("got %v at the token service, want nothing", got)
	}
}

func TestTokenServiceThatIsAwaySignsNobodyOut(t *testing.T) {
	w, service, s := newRenderedApp(t, nil)
	w.serveApp(http.HandlerFunc(echo))
	w.start()
	page := []string{s.absent(), "Sec-Fetch-Mode: navigate"}
	got := w.do("GET", "/orders", "", page...)
	if got.Status != 503 || got.reason() != "token_service_unreachable" || got.Header.Get("Retry-After") == "" {
		t.Errorf("got %d %q, want 503 token_service_unreachable with a Retry-After", got.Status, got.reason())
	}
	got.wantCookies(t, nil)
	public := w.do("GET", "/public", "", page...)
	if seen := public.seen(t); seen.Header.Get("X-Auth-Subject") != "" {
		t.Errorf("got subject %q, want nobody", seen.Header.Get("X-Auth-Subject"))
	}
	public.wantCookies(t, nil)
	if got := w.do("GET", "/orders", "", "Cookie: "+accessCookie+"="+w.token("alice", nil)+"; "+refreshCookie+"=x").Status; got != 200 {
		t.Errorf("got %d with a good access token, want 200", got)
	}
	service.serve()
	w.eventually("the session goes on", func() bool { return w.do("GET", "/orders", "", page...).Status == http.StatusTemporaryRedirect })
}

func TestSessionThatHasEndedIsTakenFromTheBrowser(t *testing.T) {
	w, service, s := newRenderedApp(t, nil)
	w.serveApp(http.HandlerFunc(echo))
	service.serve()
	w.start()
	stolen := s.absent()
	s.counter += 2
	got := w.do("GET", "/orders?page=2", "", stolen, "Sec-Fetch-Mode: navigate")
	if want := "/public/sign-in?return=%2Forders%3Fpage%3D2"; got.Status != http.StatusSeeOther || got.Header.Get("Location") != want {
		t.Errorf("got %d to %q, want 303 to %s", got.Status, got.Header.Get("Location"), want)
	}
	got.wantCookies(t, []string{accessCookie + cleared, refreshCookie + cleared})
	// The owner loses nothing but the session: whose cookie it is that is not known cannot be told.
	if got := w.do("GET", "/orders", "", s.absent()); got.Status != 401 || len(got.Header["Set-Cookie"]) > 0 {
		t.Errorf("got %d with cookies %q, want 401 and none", got.Status, got.Header["Set-Cookie"])
	}
	service.takeAsked()
	for range 10 {
		w.do("GET", "/public/style.css", "", s.absent())
	}
	if got := len(service.takeAsked()); got > 1 {
		t.Errorf("got %d refreshes of a session that is over, want one at most in a moment", got)
	}
}

func TestTokenThatIsRefusedThoughItIsNewEndsInNoLoop(t *testing.T) {
	w, service, s := newRenderedApp(t, nil)
	w.serveApp(http.HandlerFunc(echo))
	service.serve()
	s.claims = map[string]any{"aud": "another"}
	w.start()
	got := w.do("GET", "/orders", "", s.absent())
	if got.Status != 401 || got.reason() != "invalid_token" {
		t.Errorf("got %d %q, want 401 invalid_token", got.Status, got.reason())
	}
	if got := w.do("GET", "/orders", "", "Cookie: "+accessCookie+"="+s.access+"; "+refreshCookie+"="+s.refreshToken()); got.Status != 401 {
		t.Errorf("got %d for the token again, want 401", got.Status)
	}
	if got := len(service.takeAsked()); got != 1 {
		t.Errorf("got %d refreshes, want 1", got)
	}
}

func TestAppThatKeepsTheTokenGetsItInAHeader(t *testing.T) {
	w, service, s := newRenderedApp(t, func(b *bundle.Bundle) { b.Policy.KeepToken = true })
	w.serveApp(http.HandlerFunc(echo))
	service.serve()
	w.start()
	header := w.do("POST", "/orders", "", s.absent()).seen(t).Header
	if got, want := header.Get("Authorization"), "Bearer "+s.access; got != want {
		t.Errorf("got Authorization %q at the app, want %q", got, want)
	}
	if got := header["Cookie"]; !slices.Equal(got, []string{"theme=dark"}) {
		t.Errorf("got cookies %q at the app, want its own", got)
	}
}

func TestAppThatSignsInByItselfHandsTheCookieOn(t *testing.T) {
	w, service, s := newRenderedApp(t, nil)
	w.serveApp(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		maxAge := r.URL.Query().Get("age")
		w.Header()["Set-Cookie"] = []string{
			"a=b", "__Secure-latchkey-refresh=" + r.URL.Query().Get("token") + "; Path=/auth; Max-Age=" + maxAge + "; HttpOnly; Secure; SameSite=Strict",
			accessCookie + "=forged; Path=/; Secure",
		}
	}))
	service.serve()
	w.start()
	got := w.do("POST", "/public/sso?token="+s.refreshToken()+"&age=60", "")
	got.wantCookies(t, []string{"a=b", accessCookie + cleared, refreshCookie + "=" + s.refreshToken() + "; Path=/; Max-Age=60" + attributes})
	got = w.do("POST", "/public/sign-out?age=0", "")
	got.wantCookies(t, []string{"a=b", accessCookie + cleared, refreshCookie + cleared})
}

func TestPolicyThatKeepsNoSessionTakesNoCookie(t *testing.T) {
	w, service := newWorldWithTokenService(t)
	service.serve()
	w.start()
	if got := w.do("GET", "/orders", "", "Cookie: "+accessCookie+"="+w.token("alice", nil)); got.Status != 401 {
		t.Errorf("got %d, want 401", got.Status)
	}
	if got := w.do("GET", "/public", "", "Cookie: a=b; "+accessCookie+"=x; "+refreshCookie+"=y").seen(t).Header["Cookie"]; !slices.Equal(got, []string{"a=b"}) {
		t.Errorf("got cookies %q at the app, want its own", got)
	}
}

// form posts one as a browser does.
func (w *world) form(path string, fields url.Values, headers ...string) answer {
	w.Helper()
	return w.send("POST", "http://"+w.podIP+":"+port+path, "", fields.Encode(),
		append([]string{"Content-Type: application/x-www-form-urlencoded", "Sec-Fetch-Mode: navigate"}, headers...)...)
}

func TestFormsSignInAndOut(t *testing.T) {
	w, service, s := newRenderedApp(t, nil)
	w.serveApp(http.HandlerFunc(echo))
	service.serve()
	w.start()
	w.secrets = append(w.secrets, "hunter2")
	own := "Sec-Fetch-Site: same-origin"
	fields := url.Values{"username": {"alice"}, "password": {"hunter2"}, "return": {"/orders?page=2"}}

	got := w.form("/auth/login", fields, own)
	if got.Status != http.StatusSeeOther || got.Header.Get("Location") != "/orders?page=2" || got.Body != "" {
		t.Fatalf("got %d to %q %s, want 303 to the page, and no token in the body", got.Status, got.Header.Get("Location"), got.Body)
	}
	got.wantCookies(t, s.cookies())
	asked := service.takeAsked()
	if len(asked) != 1 || asked[0].Path != "/login" || asked[0].Body != `{"password":"hunter2","username":"alice"}` || asked[0].Header.Get("Sec-Fetch-Site") != "same-origin" {
		t.Errorf("got %+v at the token service, want a sign-in as scripts send it", asked)
	}
	before := s.refreshToken()
	w.form("/auth/login", fields, own, "Cookie: "+refreshCookie+"="+before)
	if asked := service.takeAsked(); len(asked) != 1 || asked[0].Header.Get("Cookie") != "__Secure-latchkey-refresh="+before {
		t.Errorf("got %+v at the token service, want the session that is replaced", asked)
	}

	signedIn := "Cookie: " + accessCookie + "=" + s.access + "; " + refreshCookie + "=" + s.refreshToken()
	got = w.form("/auth/logout", nil, "Sec-Fetch-Site: cross-site", signedIn)
	if got.Status != http.StatusForbidden || got.reason() != "cross_origin" || s.ended {
		t.Errorf("got %d %q for another site's form, want 403 cross_origin", got.Status, got.reason())
	}
	for _, route := range []string{"/auth/logout", "/auth/logout-all"} {
		s.ended = false
		got = w.form(route, nil, own, signedIn)
		if got.Status != http.StatusSeeOther || got.Header.Get("Location") != "/public/sign-in" || !s.ended {
			t.Errorf("%s: got %d to %q, want 303 to the sign-in page", route, got.Status, got.Header.Get("Location"))
		}
		got.wantCookies(t, []string{accessCookie + cleared, refreshCookie + cleared})
	}
	s.ended = false
	got = w.form("/auth/logout-all", url.Values{"return": {"/public"}}, own, s.absent()) // the access cookie has run out
	if got.Status != http.StatusSeeOther || got.Header.Get("Location") != "/public" || !s.ended {
		t.Errorf("got %d to %q, want 303 to /public", got.Status, got.Header.Get("Location"))
	}
	got.wantCookies(t, []string{accessCookie + cleared, refreshCookie + cleared})
}

func TestFormsThatFailLeadBackToTheSignInPage(t *testing.T) {
	w, service, _ := newRenderedApp(t, nil)
	stop := service.serve()
	service.answer = func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, `{"reason":"invalid_credentials"}`)
	}
	w.start()
	fields := url.Values{"username": {"alice"}, "password": {"wrong"}, "return": {"/orders"}}
	own := "Sec-Fetch-Site: same-origin"
	check := func(got answer, reason, onward string) {
		t.Helper()
		want := "/public/sign-in?" + url.Values{"reason": {reason}, "return": {onward}}.Encode()
		if got.Status != http.StatusSeeOther || got.Header.Get("Location") != want {
			t.Errorf("got %d to %q, want 303 to %s", got.Status, got.Header.Get("Location"), want)
		}
		if len(got.Header["Set-Cookie"]) > 0 {
			t.Errorf("got cookies %q, want none", got.Header["Set-Cookie"])
		}
	}
	check(w.form("/auth/login", fields, own), "invalid_credentials", "/orders")
	check(w.form("/auth/login", url.Values{"username": {"alice", "bob"}}, own), "malformed_request", "/")

	service.mu.Lock()
	service.answer = func(over http.ResponseWriter, _ *http.Request) {
		over.Header().Set("Set-Cookie", "__Secure-latchkey-refresh=x; Path=/auth; Max-Age=60")
		_ = json.NewEncoder(over).Encode(map[string]any{"access_token": strings.Repeat("a", 4096), "expires_in": 300})
	}
	service.mu.Unlock()
	check(w.form("/auth/login", fields, own), "access_token_too_long", "/orders")
	if got := w.send("POST", "http://"+w.podIP+":"+port+"/auth/login", "", "{}", "Content-Type: application/json"); got.Status != 500 || got.reason() != "access_token_too_long" {
		t.Errorf("got %d %q, want 500 access_token_too_long", got.Status, got.reason())
	}

	stop()
	check(w.form("/auth/login", fields, own), "token_service_unreachable", "/orders")
	if got := w.form("/auth/logout", nil, own); got.Status != 503 || len(got.Header["Set-Cookie"]) > 0 {
		t.Errorf("logout: got %d with cookies %q, want 503: the session goes on", got.Status, got.Header["Set-Cookie"])
	}
}

func TestFormsOfOtherSitesAreRefused(t *testing.T) {
	w, service, _ := newRenderedApp(t, nil)
	service.serve()
	w.start()
	host := w.podIP + ":" + port
	for _, tc := range []struct {
		name    string
		headers []string
		status  int
	}{
		{"who says nothing", nil, 403},
		{"another site", []string{"Sec-Fetch-Site: cross-site", "Origin: http://" + host}, 403},
		{"a neighbour", []string{"Sec-Fetch-Site: same-site"}, 403},
		{"two answers", []string{"Sec-Fetch-Site: same-origin", "Sec-Fetch-Site: cross-site"}, 403},
		{"an old browser on another site", []string{"Origin: https://evil.example"}, 403},
		{"a sandboxed frame", []string{"Origin: null"}, 403},
		{"an old browser", []string{"Origin: http://" + host}, 303},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := w.form("/auth/login", url.Values{"username": {"mallory"}, "password": {"x"}}, tc.headers...); got.Status != tc.status {
				t.Errorf("got %d, want %d", got.Status, tc.status)
			}
		})
	}
}

func TestFormsLeadToNoOtherHost(t *testing.T) {
	w, service, _ := newRenderedApp(t, nil)
	service.serve()
	w.start()
	for _, tc := range []struct{ wanted, want string }{
		{"/orders?page=2&q=%2F%2F", "/orders?page=2&q=%2F%2F"}, {"", "/"}, {"/", "/"},
		{"https://evil.example/", "/"}, {"//evil.example", "/"}, {`/\evil.example`, "/"}, {"/\t/evil.example", "/"}, {"evil.example", "/"},
		{"/%2f%2fevil.example", "/"}, {"/%5cevil.example", "/"}, {"/..//evil.example", "/"}, {"javascript:alert(1)", "/"}, {"/a\r\nSet-Cookie: x=y", "/"},
		{"/a?b\r\nSet-Cookie: x=y", "/"}, {"/a?\x00", "/"}, {"/a#b", "/"}, {"/a?b#c", "/"}, {"/" + strings.Repeat("a", 2048), "/"},
	} {
		got := w.form("/auth/login", url.Values{"username": {"alice"}, "password": {"x"}, "return": {tc.wanted}}, "Sec-Fetch-Site: same-origin")
		if got.Status != http.StatusSeeOther || got.Header.Get("Location") != tc.want {
			t.Errorf("%.40q: got %d to %q, want 303 to %q", tc.wanted, got.Status, got.Header.Get("Location"), tc.want)
		}
	}
}

func TestBrowsersAreSentToTheSignInPage(t *testing.T) {
	w, service, _ := newRenderedApp(t, func(b *bundle.Bundle) {
		b.Policy.Rules[0] = policy.Rule{Paths: []policy.Path{{Prefix: "/nothing"}}, Access: policy.AccessAnonymous}
	})
	service.serve()
	w.start()
	navigation := "Sec-Fetch-Mode: navigate"
	for _, tc := range []struct {
		name, method, path string
		headers            []string
		status             int
		location           string
	}{
		{"who asks for a page", "GET", "/orders?page=2", []string{navigation}, 303, "/public/sign-in?return=%2Forders%3Fpage%3D2"},
		{"an old browser", "GET", "/orders", []string{"Accept: text/html,*/*"}, 303, "/public/sign-in?return=%2Forders"},
		{"who sends a form", "POST", "/orders", []string{navigation, "Sec-Fetch-Site: same-origin"}, 303, "/public/sign-in"},
		{"a script", "GET", "/orders", []string{"Sec-Fetch-Mode: cors", "Accept: text/html"}, 401, ""},
		{"no browser", "GET", "/orders", nil, 401, ""},
		{"who may not, whoever they are", "GET", "/closed", []string{navigation}, 403, ""},
		{"who asks for the page with the form, which the policy should allow", "GET", "/public/sign-in", []string{navigation}, 401, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := w.do(tc.method, tc.path, "", tc.headers...)
			if got.Status != tc.status || got.Header.Get("Location") != tc.location {
				t.Errorf("got %d to %q, want %d to %q", got.Status, got.Header.Get("Location"), tc.status, tc.location)
			}
		})
	}
}

func TestScriptsOfARenderedAppUseTheSameSession(t *testing.T) {
	w, service, s := newRenderedApp(t, nil)
	w.serveApp(http.HandlerFunc(echo))
	service.serve()
	w.start()
	got := w.send("POST", "http://"+w.podIP+":"+port+"/auth/refresh", "", "", s.absent())
	if got.Status != 200 || !strings.Contains(got.Body, s.access) {
		t.Fatalf("got %d %s, want the token service's answer", got.Status, got.Body)
	}
	got.wantCookiesOnly(t, s.cookies())
	signedIn := "Cookie: " + accessCookie + "=" + s.access + "; " + refreshCookie + "=" + s.refreshToken()
	if got := w.do("GET", "/orders", s.access, signedIn).seen(t).Header.Get("X-Auth-Subject"); got != "alice" {
		t.Errorf("got subject %q with both, want alice", got)
	}
	service.takeAsked()
	access := s.access
	w.do("GET", "/auth/sessions", "", signedIn)
	if asked := service.takeAsked(); len(asked) != 1 || asked[0].Header.Get("Authorization") != "Bearer "+access {
		t.Errorf("got %+v at the token service, want the access token of the cookie", asked)
	}
}

func (a answer) wantCookiesOnly(t *testing.T, want []string) {
	t.Helper()
	if diff := cmp.Diff(a.Header["Set-Cookie"], want); diff != "" {
		t.Errorf("got Set-Cookie -, want +:\n%s", diff)
	}
}

func TestWebSocketBeginsWithARenewedSession(t *testing.T) {
	w, service, s := newRenderedApp(t, nil)
	w.serveApp(speaks(frame(5), 7))
	service.serve()
	w.start()
	_, cookies, _ := strings.Cut(s.absent(), ": ")
	connection, response, err := websocket.DefaultDialer.Dial("ws://"+w.podIP+":"+port+"/socket", http.Header{"Cookie": {cookies}, "Sec-Fetch-Site": {"same-origin"}})
	check(t, err)
	defer connection.Close()
	response.Body.Close()
	answer{Header: response.Header}.wantCookies(t, s.cookies())
	check(t, connection.SetReadDeadline(time.Now().Add(patience)))
	if _, said, err := connection.ReadMessage(); err != nil || string(said) != "xxxxx" {
		t.Errorf("got %q, %v, want what the app says", said, err)
	}
	// It goes by the new token, under another policy, too: the browser's own cookie has none.
	b := service.in(w.bundle())
	b.Session.ServerRendered = &bundle.ServerRendered{SignInPath: "/public/sign-in"}
	w.waitApplied(w.mount(b))
	b.Policy.Rules[2].Paths[0].Prefix = "/socket"
	w.mount(b)
	w.wantFarewell(connection, websocket.ClosePolicyViolation, "denied")
}
