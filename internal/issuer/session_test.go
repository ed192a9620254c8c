package issuer_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/latchkey-dev/latchkey/internal/issuer"
	"github.com/latchkey-dev/latchkey/internal/issuer/config"
)

func TestLoginAnswersWithBothTokens(t *testing.T) {
	w := start(t)
	a := w.login("alice")

	header, claims := w.claims(a.access)
	if got, want := header["typ"], "at+jwt"; got != want {
		t.Errorf("typ: got %v, want %v", got, want)
	}
	now := float64(w.clock.Now().Unix())
	for _, random := range []string{"jti", "sid"} {
		if text, ok := claims[random].(string); !ok || len(text) != 22 {
			t.Errorf("%s: got %v, want 22 characters", random, claims[random])
		}
		delete(claims, random)
	}
	want := map[string]any{
		"iss": "https://auth.example.com", "sub": "alice", "aud": []any{"shop"}, "client_id": "latchkey",
		"iat": now, "auth_time": now, "exp": now + 300,
		"email": "alice@example.com", "roles": []any{"tester"},
	}
	if diff := cmp.Diff(claims, want); diff != "" {
		t.Errorf("claims (-got +want):\n%s", diff)
	}

	if got, want := a.expires, int64(300); got != want {
		t.Errorf("expires_in: got %d, want %d", got, want)
	}
	cookie := *a.cookie
	if len(cookie.Value) >= 100 {
		t.Errorf("the refresh token has %d characters, want under 100", len(cookie.Value))
	}
	wantCookie := http.Cookie{Name: "__Secure-latchkey-refresh", Value: cookie.Value, Path: "/auth", MaxAge: 24 * 60 * 60,
		HttpOnly: true, Secure: true, SameSite: http.SameSiteStrictMode, Raw: cookie.Raw}
	if diff := cmp.Diff(cookie, wantCookie); diff != "" {
		t.Errorf("cookie (-got +want):\n%s", diff)
	}
	if strings.Contains(a.body, cookie.Value) {
		t.Error("the body holds the refresh token: scripts could read it")
	}
	if got, want := a.header.Get("Cache-Control"), "no-store"; got != want {
		t.Errorf("Cache-Control: got %q, want %q", got, want)
	}
}

func TestRefreshReplacesBothTokens(t *testing.T) {
	w := start(t)
	first := w.login("alice")
	w.clock.step(time.Minute)
	second := w.mustRefresh(first.refresh())
	if second.refresh() == first.refresh() {
		t.Error("the refresh token is the same")
	}
	_, before := w.claims(first.access)
	_, after := w.claims(second.access)
	for _, same := range []string{"sid", "sub", "auth_time"} {
		if before[same] != after[same] {
			t.Errorf("%s: got %v, want %v", same, after[same], before[same])
		}
	}
	if before["jti"] == after["jti"] {
		t.Error("the jti is the same")
	}
	if got, want := after["exp"], float64(w.clock.Now().Add(5*time.Minute).Unix()); got != want {
		t.Errorf("exp: got %v, want %v", got, want)
	}
}

func TestRefreshReadsTheUserAgain(t *testing.T) {
	w := start(t)
	a := w.login("alice")
	w.change("latchkey-users", func() {
		w.write("users", "users.yaml", []byte("users: [{name: alice, passwordHash: "+`"`+hashes()["alice"]+`"`+", claims: {roles: [retired]}}]"))
	})
	a = w.mustRefresh(a.refresh())
	_, claims := w.claims(a.access)
	if diff := cmp.Diff(claims["roles"], any([]any{"retired"})); diff != "" {
		t.Errorf("roles (-got +want):\n%s", diff)
	}
	if _, there := claims["email"]; there {
		t.Error("a claim that was removed is still there")
	}
}

func TestAnAnswerThatWasLostIsGivenAgain(t *testing.T) {
	w := start(t)
	first := w.login("alice")
	second := w.mustRefresh(first.refresh())
	w.clock.step(defaults.ReuseWindow - time.Millisecond)
	again := w.mustRefresh(first.refresh())
	if got, want := again.refresh(), second.refresh(); got != want {
		t.Error("the repeated refresh made another successor")
	}
	if again.access == second.access {
		t.Error("the access token is not fresh")
	}
	w.mustRefresh(second.refresh())
}

func TestAnOldRefreshTokenEndsTheSession(t *testing.T) {
	for _, tc := range []struct {
		name string
		old  func(w *world, first answer) (stolen, current string)
	}{
		{"the one before, after the window", func(w *world, first answer) (string, string) {
			second := w.mustRefresh(first.refresh())
			w.clock.step(defaults.ReuseWindow)
			return first.refresh(), second.refresh()
		}},
		{"the one before that, even at once", func(w *world, first answer) (string, string) {
			second := w.mustRefresh(first.refresh())
			w.clock.step(defaults.ReuseWindow / 2) // until then it is kept
			third := w.mustRefresh(second.refresh())
			return first.refresh(), third.refresh()
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := start(t)
			other := w.login("alice")
			first := w.login("alice")
			follower := w.follow("", 0)
			follower.ready()

			stolen, current := tc.old(w, first)
			refused(t, w.refresh(stolen), http.StatusUnauthorized, issuer.ReasonReuseDetected, true)
			follower.revoked(w.sid(first))
			refused(t, w.refresh(current), http.StatusUnauthorized, issuer.ReasonNoSession, false)
			refused(t, w.refresh(stolen), http.StatusUnauthorized, issuer.ReasonNoSession, false)
			w.mustRefresh(other.refresh())

			if _, metrics, err := w.tryAdmin("/metrics"); err != nil || !strings.Contains(metrics, `latchkey_issuer_sessions_ended_total{why="reuse"} 1`) {
				t.Errorf("the reuse was not counted (%v)", err)
			}
			if !strings.Contains(w.log.String(), `"event":"refresh","outcome":"failure"`) {
				t.Error("the reuse was not logged")
			}
		})
	}
}

func TestAForgedRefreshTokenChangesNothing(t *testing.T) {
	w := start(t)
	a, b := w.login("alice"), w.login("bob")
	own, other := a.refresh(), b.refresh()
	for _, tc := range []struct{ name, token string }{
		{"another signature", own[:len(own)-4] + "AAAA"},
		{"another user's signature", own[:34] + other[34:]},
		{"another session", other[:24] + own[24:]},
		{"a session that never was", "AQ" + strings.Repeat("A", 74)},
		{"rubbish", "rubbish"},
		{"SQL", "' OR 1=1 --"},
		{"a very long one", strings.Repeat("A", 8000)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			refused(t, w.refresh(tc.token), http.StatusUnauthorized, issuer.ReasonNoSession, false)
		})
	}
	refused(t, w.refresh(""), http.StatusUnauthorized, issuer.ReasonNoSession, false)
	w.mustRefresh(own)
	w.mustRefresh(other)
}

func TestSessionsRunOut(t *testing.T) {
	t.Run("when they were idle for too long", func(t *testing.T) {
		w := start(t)
		a := w.login("alice")
		w.clock.step(defaults.IdleLifetime - time.Second)
		a = w.mustRefresh(a.refresh())
		w.clock.step(defaults.IdleLifetime)
		refused(t, w.refresh(a.refresh()), http.StatusUnauthorized, issuer.ReasonSessionEnded, true)
		refused(t, w.refresh(a.refresh()), http.StatusUnauthorized, issuer.ReasonNoSession, false)
	})
	t.Run("when they are too old, and no access token outlives them", func(t *testing.T) {
		w := start(t)
		a := w.login("alice")
		end := w.clock.Now().Add(defaults.AbsoluteLifetime)
		for range 4 {
			w.clock.step(18*time.Hour - time.Second)
			a = w.mustRefresh(a.refresh())
		}
		if got, want := a.expires, int64(4); got != want {
			t.Errorf("expires_in: got %d, want %d", got, want)
		}
		if got, want := a.cookie.MaxAge, 4; got != want {
			t.Errorf("Max-Age: got %d, want %d", got, want)
		}
		_, claims := w.claims(a.access)
		if got, want := claims["exp"], float64(end.Unix()); got != want {
			t.Errorf("exp: got %v, want %v", got, want)
		}
		w.clock.step(4 * time.Second)
		refused(t, w.refresh(a.refresh()), http.StatusUnauthorized, issuer.ReasonSessionEnded, true)
	})
	t.Run("when their user is removed", func(t *testing.T) {
		w := start(t)
		a, b := w.login("alice"), w.login("bob")
		sid := w.sid(a)
		follower := w.follow("", 0)
		follower.ready()
		w.change("latchkey-users", func() { w.writeUsers("bob") })
		refused(t, w.do(w.loginRequest("alice", passwordOf("alice"))), http.StatusUnauthorized, issuer.ReasonInvalidCredentials, false)
		refused(t, w.refresh(a.refresh()), http.StatusUnauthorized, issuer.ReasonSessionEnded, true)
		follower.revoked(sid)
		w.mustRefresh(b.refresh())
	})
}

func TestOneMoreSignInEndsTheOldestSession(t *testing.T) {
	w := start(t)
	var devices []answer
	for range defaults.MaxSessionsPerUser {
		devices = append(devices, w.login("alice"))
		w.clock.step(time.Minute)
	}
	bob := w.login("bob")
	devices[0] = w.mustRefresh(devices[0].refresh()) // oldest by sign-in, though used last
	sid := w.sid(devices[0])
	follower := w.follow("", 0)
	follower.ready()

	devices = append(devices, w.login("alice"))
	follower.revoked(sid)
	refused(t, w.refresh(devices[0].refresh()), http.StatusUnauthorized, issuer.ReasonNoSession, false)
	for _, device := range devices[1:] {
		w.mustRefresh(device.refresh())
	}
	w.mustRefresh(bob.refresh())
}

func TestLogoutEndsTheSession(t *testing.T) {
	w := start(t)
	a, other := w.login("alice"), w.login("alice")
	sid := w.sid(a)
	follower := w.follow("", 0)
	follower.ready()

	for _, attempt := range []string{"first", "again, with the same cookie"} {
		got := w.do(w.post("/logout", a.refresh(), ""))
		if got.status != http.StatusNoContent {
			t.Errorf("%s: got %d %s, want 204", attempt, got.status, got.body)
		}
		if got.cookie == nil || got.cookie.MaxAge >= 0 || got.cookie.Path != "/auth" {
			t.Errorf("%s: the cookie was not cleared: %v", attempt, got.cookie)
		}
	}
	if got := w.do(w.post("/logout", "", "")); got.status != http.StatusNoContent {
		t.Errorf("without a cookie: got %d %s, want 204", got.status, got.body)
	}
	follower.revoked(sid)
	refused(t, w.refresh(a.refresh()), http.StatusUnauthorized, issuer.ReasonNoSession, false)
	w.mustRefresh(other.refresh())
}

func TestLogoutWithATokenThatWasReplaced(t *testing.T) {
	w := start(t)
	a := w.login("alice")
	b := w.mustRefresh(a.refresh())
	if got := w.do(w.post("/logout", a.refresh(), "")); got.status != http.StatusNoContent {
		t.Errorf("got %d %s, want 204", got.status, got.body)
	}
	refused(t, w.refresh(b.refresh()), http.StatusUnauthorized, issuer.ReasonNoSession, false)
}

func TestSessionsOutliveTheProcess(t *testing.T) {
	w := newWorld(t)
	stop := w.run()
	a, b := w.login("alice"), w.login("bob")
	w.do(w.post("/logout", b.refresh(), ""))
	stop()
	w.run()
	w.mustRefresh(a.refresh())
	refused(t, w.refresh(b.refresh()), http.StatusUnauthorized, issuer.ReasonNoSession, false)
}

// A session that somebody else has planted in the browser is not taken over: signing in begins another, under a number that nobody could know
// (session fixation), and ends what was planted.
func TestSigningInNeverTakesOverTheSessionThatTheBrowserBrings(t *testing.T) {
	w := start(t)
	planted := w.login("bob")
	victim := w.loginWith("alice", passwordOf("alice"), planted.refresh())
	if victim.status != http.StatusOK || w.sid(victim) == w.sid(planted) {
		t.Fatalf("got %d and the session %s, want a session of her own", victim.status, w.sid(victim))
	}
	refused(t, w.refresh(planted.refresh()), http.StatusUnauthorized, issuer.ReasonNoSession, false)
	w.mustRefresh(victim.refresh())
}

// loginWith signs in from a browser that has had a session.
func (w *world) loginWith(name, password, token string) answer {
	w.t.Helper()
	r := w.loginRequest(name, password)
	r.Header.Set("Cookie", issuer.CookieName+"="+token)
	return w.do(r)
}

func TestSigningInAgainReplacesTheBrowsersSession(t *testing.T) {
	onEveryStore(t, func(t *testing.T, w *world) {
		c := defaults
		c.MaxSessionsPerUser = 2
		w.writeConfig(c)
		w.run()
		follower := w.follow("", 0)
		follower.ready()
		phone := w.login("alice")
		w.clock.step(time.Second)
		browser := w.login("alice")
		before := w.sid(browser)

		refused(t, w.loginWith("alice", "wrong", browser.refresh()), http.StatusUnauthorized, issuer.ReasonInvalidCredentials, false)
		browser = w.mustRefresh(browser.refresh())

		again := w.loginWith("alice", passwordOf("alice"), browser.refresh())
		follower.revoked(before)
		refused(t, w.refresh(browser.refresh()), http.StatusUnauthorized, issuer.ReasonNoSession, false)
		var left []string
		for _, each := range w.devices(again) {
			left = append(left, each.ID)
		}
		if diff := cmp.Diff(left, []string{w.sid(again), w.sid(phone)}); diff != "" { // which had not to make room
			t.Errorf("sessions (-got +want):\n%s", diff)
		}
		w.mustRefresh(phone.refresh())

		for name, cookie := range map[string]string{
			"a token that nobody made": "AAAA", "none that can be told": w.mustRefresh(again.refresh()).refresh() + "; " + issuer.CookieName + "=planted",
		} {
			if got := w.loginWith("bob", passwordOf("bob"), cookie); got.status != http.StatusOK {
				t.Errorf("with %s: got %d %s, want 200", name, got.status, got.body)
			}
		}
		if got := len(w.devices(again)); got != 2 {
			t.Errorf("after others have signed in alice has %d sessions, want 2", got)
		}
	})
}

func TestSigningInAgainCountsAsOneDeviceWhereNoMoreMaySignIn(t *testing.T) {
	c := defaults
	c.MaxSessionsPerUser, c.OnLimit = 1, config.Refuse
	w := newWorld(t)
	w.writeConfig(c)
	w.run()
	browser := w.login("alice")
	refused(t, w.do(w.loginRequest("alice", passwordOf("alice"))), http.StatusForbidden, issuer.ReasonSessionLimit, false)
	if again := w.loginWith("alice", passwordOf("alice"), browser.refresh()); again.status != http.StatusOK {
		t.Errorf("got %d %s, want 200", again.status, again.body)
	}
}

// Nothing sends the browser anywhere, so nobody can say where (open redirect).
func TestNoAnswerSendsTheBrowserAnywhere(t *testing.T) {
	w := start(t)
	token := w.login("alice").refresh()
	const elsewhere = "?next=https://evil.example&redirect_uri=https://evil.example&return_to=//evil.example"
	for _, request := range []*http.Request{
		w.loginRequest("alice", passwordOf("alice")), w.loginRequest("alice", "wrong"), w.post("/refresh", token, ""), w.post("/logout", token, ""),
		w.get("/.well-known/jwks.json"), w.get("/"), w.get("//evil.example/"), w.post("/login/", "", "{}"),
	} {
		request.URL.RawQuery = elsewhere[1:]
		if got := w.do(request); got.status >= 300 && got.status < 400 || got.header.Get("Location") != "" || got.header.Get("Refresh") != "" {
			t.Errorf("%s %s: got %d and Location %q, want no way elsewhere", request.Method, request.URL.Path, got.status, got.header.Get("Location"))
		}
	}
}
