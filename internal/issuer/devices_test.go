package issuer_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/latchkey-dev/latchkey/internal/issuer"
	"github.com/latchkey-dev/latchkey/internal/issuer/config"
)

// as makes a request with an access token.
func (w *world) as(a answer, method, path string) *http.Request {
	w.t.Helper()
	r := w.from(w.get(path), "192.0.2.7")
	r.Method = method
	r.Header.Set("X-Forwarded-Prefix", "/auth")
	r.Header.Set("Authorization", "Bearer "+a.access)
	return r
}

type device struct {
	ID         string
	Current    bool
	CreatedAt  time.Time `json:"created_at"`
	LastUsedAt time.Time `json:"last_used_at"`
	Address    string
	UserAgent  string `json:"user_agent"`
}

func (w *world) devices(a answer) []device {
	w.t.Helper()
	got := w.do(w.as(a, http.MethodGet, "/sessions"))
	var told struct{ Sessions []device }
	if err := json.Unmarshal([]byte(got.body), &told); err != nil || got.status != http.StatusOK {
		w.t.Fatalf("sessions: got %d %s", got.status, got.body)
	}
	return told.Sessions
}

func (w *world) loginFrom(name, address, userAgent string) answer {
	w.t.Helper()
	r := w.from(w.loginRequest(name, passwordOf(name)), address)
	r.Header.Set("User-Agent", userAgent)
	a := w.do(r)
	if a.status != http.StatusOK {
		w.t.Fatalf("login: got %d %s", a.status, a.body)
	}
	return a
}

func TestUserSeesTheirDevices(t *testing.T) {
	w := start(t)
	phone := w.loginFrom("alice", "2001:db8::7", "phone")
	at := w.clock.Now()
	w.clock.step(time.Minute)
	laptop := w.loginFrom("alice", "::ffff:192.0.2.9", "laptop")
	w.loginFrom("bob", "198.51.100.1", "bob's")
	w.clock.step(time.Minute)
	r := w.from(w.post("/refresh", phone.refresh(), ""), "2001:db8::8")
	r.Header.Set("User-Agent", "phone 2")
	phone = w.do(r)

	got := w.devices(laptop)
	for i := range got {
		got[i].CreatedAt, got[i].LastUsedAt = got[i].CreatedAt.Local(), got[i].LastUsedAt.Local()
	}
	want := []device{
		{ID: w.sid(laptop), Current: true, CreatedAt: at.Add(time.Minute), LastUsedAt: at.Add(time.Minute), Address: "192.0.2.9", UserAgent: "laptop"},
		{ID: w.sid(phone), CreatedAt: at, LastUsedAt: at.Add(2 * time.Minute), Address: "2001:db8::8", UserAgent: "phone 2"},
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("devices (-got +want):\n%s", diff)
	}
}

func TestUserAgentsAreCutAndCleaned(t *testing.T) {
	w := start(t)
	a := w.loginFrom("alice", "192.0.2.7", "phone\u0085 "+strings.Repeat("ü", 300))
	if got := w.devices(a)[0].UserAgent; len(got) != 256 || !strings.HasPrefix(got, "phone ") {
		t.Errorf("got %d bytes %.20q, want 256 without control characters", len(got), got)
	}
}

func TestUserEndsSessions(t *testing.T) {
	for _, tc := range []struct {
		name, method      string
		path              func(own, other string) string
		ownGone, otherOut bool
		cleared           bool
	}{
		{"one", http.MethodDelete, func(_, other string) string { return "/sessions/" + other }, false, true, false},
		{"their own", http.MethodDelete, func(own, _ string) string { return "/sessions/" + own }, true, false, true},
		{"all others", http.MethodDelete, func(_, _ string) string { return "/sessions" }, false, true, false},
		{"all", http.MethodPost, func(_, _ string) string { return "/logout-all" }, true, true, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := start(t)
			follower := w.follow("", 0)
			follower.ready()
			own, other, bob := w.login("alice"), w.login("alice"), w.login("bob")
			a := w.do(w.as(own, tc.method, tc.path(w.sid(own), w.sid(other))))
			if cleared := a.cookie != nil && a.cookie.MaxAge < 0; a.status != http.StatusNoContent || cleared != tc.cleared {
				t.Fatalf("got %d %s and cookie cleared %v, want 204 and %v", a.status, a.body, cleared, tc.cleared)
			}
			for _, each := range []struct {
				who    string
				answer answer
				gone   bool
			}{{"own", own, tc.ownGone}, {"other", other, tc.otherOut}, {"bob's", bob, false}} {
				if each.gone {
					follower.revoked(w.sid(each.answer))
				}
				if got := w.refresh(each.answer.refresh()).status == http.StatusOK; got == each.gone {
					t.Errorf("%s session refreshes: got %v, want %v", each.who, got, !each.gone)
				}
			}
		})
	}
}

func TestSessionsOfOthersAreNobodysBusiness(t *testing.T) {
	w := start(t)
	alice, bob := w.login("alice"), w.login("bob")
	foreign := w.do(w.as(alice, http.MethodDelete, "/sessions/"+w.sid(bob)))
	absent := w.do(w.as(alice, http.MethodDelete, "/sessions/AAAAAAAAAAAAAAAAAAAAAA"))
	nonsense := w.do(w.as(alice, http.MethodDelete, "/sessions/x"))
	for _, a := range []answer{foreign, absent, nonsense} {
		if a.status != http.StatusNotFound || a.reason != string(issuer.ReasonNoSuchSession) || a.body != absent.body {
			t.Errorf("got %d %s, want the very same answer for each", a.status, a.body)
		}
	}
	w.mustRefresh(bob.refresh())
}

func TestSessionRoutesTakeAccessTokensOfLivingSessionsOnly(t *testing.T) {
	w := start(t)
	a := w.login("alice")
	ended := w.login("alice")
	w.do(w.post("/logout", ended.refresh(), ""))
	for _, tc := range []struct{ name, authorization string }{
		{"none", ""},
		{"of a session that has ended", "Bearer " + ended.access},
		{"a refresh token", "Bearer " + a.refresh()},
		{"another scheme", "Basic " + a.access},
		{"one that somebody changed", "Bearer " + a.access[:len(a.access)-4] + "AAAA"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, r := range []*http.Request{w.as(a, http.MethodGet, "/sessions"), w.as(a, http.MethodDelete, "/sessions"),
				w.as(a, http.MethodDelete, "/sessions/"+w.sid(a)), w.as(a, http.MethodPost, "/logout-all")} {
				r.Header.Set("Authorization", tc.authorization)
				r.Header.Set("Cookie", issuer.CookieName+"="+a.refresh()) // which is not asked for here
				got := w.do(r)
				refused(t, got, http.StatusUnauthorized, issuer.ReasonInvalidToken, false)
				if challenge := got.header.Get("WWW-Authenticate"); challenge != "Bearer" {
					t.Errorf("WWW-Authenticate: got %q, want Bearer", challenge)
				}
			}
		})
	}
	w.mustRefresh(a.refresh())
}

func TestAddressesAreBelievedOfSidecarsOnly(t *testing.T) {
	w := start(t)
	r := w.loginRequest("alice", passwordOf("alice"))
	r.Header.Set("Latchkey-Sidecar", strings.Repeat("A", 43))
	a := w.do(r)
	if got := w.devices(a)[0].Address; got == "192.0.2.7" || !strings.HasPrefix(got, "127.") {
		t.Errorf("got address %q, want that of whoever called", got)
	}
}

func TestSignInBeyondTheLimitIsRefusedWhereAskedFor(t *testing.T) {
	w := newWorld(t)
	c := defaults
	c.MaxSessionsPerUser, c.OnLimit = 1, config.Refuse
	w.writeConfig(c)
	w.run()
	first := w.login("alice")
	refused(t, w.do(w.loginRequest("alice", passwordOf("alice"))), http.StatusForbidden, issuer.ReasonSessionLimit, false)
	first = w.mustRefresh(first.refresh())
	w.do(w.post("/logout", first.refresh(), ""))
	w.login("alice")
}

func TestRefreshFromAnotherNetwork(t *testing.T) {
	for _, tc := range []struct {
		binding config.IPBinding
		ended   bool
		counted string
		logged  bool
	}{
		{config.IPBindingOff, false, "0", false},
		{config.IPBindingLog, false, "1", true},
		{config.IPBindingReauthenticate, true, "0", true},
	} {
		t.Run(string(tc.binding), func(t *testing.T) {
			w := newWorld(t)
			c := defaults
			c.IPBinding = tc.binding
			w.writeConfig(c)
			w.run()
			a := w.loginFrom("alice", "192.0.2.7", "phone")
			near := w.do(w.from(w.post("/refresh", a.refresh(), ""), "192.0.2.99"))
			if near.status != http.StatusOK {
				t.Fatalf("from the same network: got %d %s", near.status, near.body)
			}
			far := w.do(w.from(w.post("/refresh", near.refresh(), ""), "203.0.113.5"))
			if tc.ended {
				refused(t, far, http.StatusUnauthorized, issuer.ReasonNetworkChanged, true)
				refused(t, w.do(w.from(w.post("/refresh", near.refresh(), ""), "192.0.2.7")), http.StatusUnauthorized, issuer.ReasonNoSession, false)
			} else if far.status != http.StatusOK {
				t.Errorf("from another network: got %d %s", far.status, far.body)
			}
			_, metrics, err := w.tryAdmin("/metrics")
			if err != nil {
				t.Fatal(err)
			}
			if want := "latchkey_issuer_network_changes_total " + tc.counted + "\n"; !strings.Contains(metrics, want) {
				t.Errorf("the metrics lack %q", want)
			}
			if got := strings.Contains(w.log.String(), `"reason":"network_changed","before":"192.0.2.99"`); got != tc.logged {
				t.Errorf("logged: got %v, want %v", got, tc.logged)
			}
		})
	}
}

func TestNewPasswordEndsSessionsThatBeganWithTheOld(t *testing.T) {
	w := start(t)
	alice, bob := w.login("alice"), w.login("bob")
	w.change("latchkey-users", func() { w.rehash("alice") })
	refused(t, w.refresh(alice.refresh()), http.StatusUnauthorized, issuer.ReasonSessionEnded, true)
	w.mustRefresh(bob.refresh())
	w.mustRefresh(w.login("alice").refresh())
}

func TestSessionsOfOnePersonAreOneList(t *testing.T) {
	w := start(t)
	w.login("alice")
	shouting := w.do(w.loginRequest("ALICE", passwordOf("alice")))
	if _, claims := w.claims(shouting.access); claims["sub"] != "alice" {
		t.Errorf("got sub %v, want the name as it is listed", claims["sub"])
	}
	r := w.get("/sessions")
	r.Header.Set("Authorization", "Bearer "+shouting.access)
	if got := strings.Count(w.do(r).body, `"id"`); got != 2 {
		t.Errorf("got %d sessions, want 2", got)
	}
}
