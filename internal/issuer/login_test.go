package issuer_test

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/latchkey-dev/latchkey/internal/issuer"
	"github.com/latchkey-dev/latchkey/internal/issuer/config"
	"github.com/latchkey-dev/latchkey/internal/issuer/webhook"
	"github.com/latchkey-dev/latchkey/internal/keyset"
	"github.com/latchkey-dev/latchkey/internal/signing"
)

// startWithWebhook runs a token service whose users the app knows.
func startWithWebhook(t *testing.T, check func(webhook.Attempt) (status int, answer string)) *world {
	t.Helper()
	w := newWorldWithWebhook(t, func(a webhook.Attempt, _ http.Header) (int, string) { return check(a) }, func(*config.Config) {})
	w.run()
	return w
}

// newWorldWithWebhook makes such a world, in which nothing runs yet.
func newWorldWithWebhook(t *testing.T, check func(webhook.Attempt, http.Header) (status int, answer string), change func(*config.Config)) *world {
	t.Helper()
	app := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var attempt webhook.Attempt
		if err := json.NewDecoder(r.Body).Decode(&attempt); err != nil {
			t.Error(err)
		}
		status, answer := check(attempt, r.Header)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, answer)
	}))
	t.Cleanup(app.Close)
	w := newWorld(t)
	c := defaults
	c.Login = config.Login{Webhook: &config.Webhook{
		URL: app.URL, Timeout: 5 * time.Second,
		CertificateAuthority: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: app.Certificate().Raw})),
	}}
	change(&c)
	w.writeConfig(c)
	w.write("webhook", webhook.SecretFile, []byte("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"))
	w.without, w.with = "users", "webhook"
	return w
}

func TestAppSaysWhoSignsIn(t *testing.T) {
	var told []webhook.Attempt
	w := startWithWebhook(t, func(a webhook.Attempt) (int, string) {
		told = append(told, a)
		switch a.Password {
		case "right":
			return 200, `{"username":"carol","claims":{"roles":["reader"],"plan":{"name":"gold"}}}`
		case "busy":
			return 429, ``
		case "wrong":
			return 401, ``
		}
		return 500, `stack trace`
	})
	r := w.loginRequest("Carol@Example.com", "right")
	r.Header.Set("User-Agent", "phone")
	a := w.do(r)
	if a.status != http.StatusOK {
		t.Fatalf("got %d %s", a.status, a.body)
	}
	want := []webhook.Attempt{{Username: "Carol@Example.com", Password: "right", Address: "192.0.2.7", UserAgent: "phone"}}
	if diff := cmp.Diff(told, want); diff != "" {
		t.Errorf("what the app was told (-got +want):\n%s", diff)
	}
	check := func(a answer) {
		t.Helper()
		_, claims := w.claims(a.access)
		if claims["sub"] != "carol" || !cmp.Equal(claims["roles"], []any{"reader"}) || !cmp.Equal(claims["plan"], map[string]any{"name": "gold"}) {
			t.Errorf("claims: got %v, want those that the app said", claims)
		}
	}
	check(a)
	check(w.mustRefresh(a.refresh())) // without asking again
	if len(told) != 1 {
		t.Errorf("the app was asked %d times, want once", len(told))
	}

	for _, tc := range []struct {
		password string
		status   int
		reason   issuer.Reason
	}{
		{"wrong", http.StatusUnauthorized, issuer.ReasonInvalidCredentials},
		{"busy", http.StatusTooManyRequests, issuer.ReasonBusy},
		{"boom", http.StatusServiceUnavailable, issuer.ReasonLoginUnavailable},
	} {
		refused(t, w.do(w.loginRequest("carol", tc.password)), tc.status, tc.reason, false)
	}
}

func TestAppThatIsDownCostsNoGuesses(t *testing.T) {
	up := false
	w := startWithWebhook(t, func(webhook.Attempt) (int, string) {
		if up {
			return 200, `{"username":"carol"}`
		}
		return 502, ``
	})
	for range 15 {
		refused(t, w.do(w.loginRequest("carol", "right")), http.StatusServiceUnavailable, issuer.ReasonLoginUnavailable, false)
	}
	up = true
	if a := w.do(w.loginRequest("carol", "right")); a.status != http.StatusOK {
		t.Errorf("got %d %s, want a session", a.status, a.body)
	}
}

// Some apps say "no" by 400, 404 or a page: that is a fault, and no way round the counting.
func TestGuessesAreCountedThoughTheAppAnswersWhatItShouldNot(t *testing.T) {
	for _, answer := range []struct {
		status int
		body   string
	}{{400, ``}, {404, ``}, {422, `{"error":"wrong password"}`}, {302, ``}, {200, `{"ok":false}`}} {
		t.Run(fmt.Sprint(answer.status), func(t *testing.T) {
			w := startWithWebhook(t, func(webhook.Attempt) (int, string) { return answer.status, answer.body })
			for range 10 {
				refused(t, w.do(w.loginRequest("carol", "wrong")), http.StatusServiceUnavailable, issuer.ReasonLoginUnavailable, false)
			}
			refused(t, w.do(w.loginRequest("carol", "wrong")), http.StatusTooManyRequests, issuer.ReasonThrottled, false)
		})
	}
}

// Many apps hold back a "no" for a second or two. Who hangs up on it has learnt that it is none as well, for a "yes" comes at once.
func TestGuessesAreCountedThoughTheClientHangsUp(t *testing.T) {
	asked, held := make(chan struct{}), make(chan struct{})
	release := sync.OnceFunc(func() { close(held) })
	w := startWithWebhook(t, func(a webhook.Attempt) (int, string) {
		if a.Password == "right" {
			return 200, `{"username":"carol"}`
		}
		asked <- struct{}{}
		<-held
		return 401, ``
	})
	t.Cleanup(release)
	for range 10 {
		ctx, hangUp := context.WithCancel(t.Context())
		go func() {
			<-asked
			hangUp()
		}()
		if _, err := w.try(w.loginRequest("carol", "wrong").WithContext(ctx)); err == nil {
			t.Fatal("got an answer, want none")
		}
	}
	w.eventually("the token service has seen that they are gone", func() bool { return strings.Count(w.log.String(), `"event":"sign_in"`) == 10 })
	release()
	refused(t, w.do(w.loginRequest("carol", "right")), http.StatusTooManyRequests, issuer.ReasonThrottled, false)
}

// cluster signs ServiceAccount tokens.
type cluster struct {
	t   *testing.T
	key *signing.Key
}

const clusterIssuer = "https://kubernetes.default.svc"

func (c cluster) token(subject, audience string, expires time.Time) string {
	c.t.Helper()
	token, err := c.key.Sign("", fmt.Appendf(nil, `{"iss":%q,"sub":%q,"aud":[%q],"exp":%d}`, clusterIssuer, subject, audience, expires.Unix()))
	if err != nil {
		c.t.Fatal(err)
	}
	return token
}

const backend = "system:serviceaccount:shop:backend"

// newCluster returns a cluster and how its backend is trusted.
func newCluster(t *testing.T) (cluster, *config.Backends) {
	t.Helper()
	key, err := signing.Generate("RS256", 2048)
	if err != nil {
		t.Fatal(err)
	}
	set, err := keyset.NewSet(key.Public(time.Time{}))
	if err != nil {
		t.Fatal(err)
	}
	keys, err := set.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	return cluster{t, key}, &config.Backends{Issuer: clusterIssuer, Keys: keys, Subjects: []string{backend}}
}

// startWithBackend runs a token service that takes the word of one backend, and nobody's password.
func startWithBackend(t *testing.T, delivery config.Delivery) (*world, cluster) {
	t.Helper()
	signs, trusted := newCluster(t)
	w := newWorld(t)
	c := defaults
	c.Delivery = delivery
	c.Login = config.Login{Backends: trusted}
	w.writeConfig(c)
	w.without = "users"
	w.run()
	return w, signs
}

func (w *world) byBackend(path, token, contentType, body string) answer {
	w.t.Helper()
	r := w.post(path, "", body)
	r.Header.Set("Content-Type", contentType)
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Del("X-Forwarded-For")
	return w.do(r)
}

func TestBackendSignsUsersInAndOut(t *testing.T) {
	w, cluster := startWithBackend(t, config.DeliverByCookie)
	token := cluster.token(backend, defaults.Issuer, w.clock.Now().Add(time.Hour))
	named := `{"username":"dave","claims":{"roles":["reader"]},"address":"198.51.100.7","user_agent":"dave's phone"}`
	a := w.byBackend("/backend/login", token, "application/json", named)
	if a.status != http.StatusOK || a.cookie == nil || a.cookie.Path != "/auth" {
		t.Fatalf("got %d %s and cookie %v, want a session whose cookie is for /auth", a.status, a.body, a.cookie)
	}
	renewed := w.do(w.from(w.post("/refresh", a.refresh(), ""), "198.51.100.8"))
	_, claims := w.claims(renewed.access)
	if claims["sub"] != "dave" || !cmp.Equal(claims["roles"], []any{"reader"}) {
		t.Errorf("claims after a refresh: got %v, want those that the backend said", claims)
	}
	if got := w.devices(renewed); len(got) != 1 || got[0].Address != "198.51.100.8" {
		t.Errorf("devices: got %v, want one, at the address of the client", got)
	}
	if got := w.byBackend("/backend/logout-all", token, "application/json", `{"username":"dave"}`); got.status != http.StatusNoContent {
		t.Fatalf("logout: got %d %s", got.status, got.body)
	}
	refused(t, w.refresh(renewed.refresh()), http.StatusUnauthorized, issuer.ReasonNoSession, false)
	refused(t, w.do(w.loginRequest("dave", "any")), http.StatusUnauthorized, issuer.ReasonInvalidCredentials, false)
}

func TestOnlyBackendsThatAreNamedAreTrusted(t *testing.T) {
	w, cluster := startWithBackend(t, config.DeliverByCookie)
	later := w.clock.Now().Add(time.Hour)
	other, err := signing.Generate("RS256", 2048)
	if err != nil {
		t.Fatal(err)
	}
	imposter := cluster
	imposter.key = other
	for _, tc := range []struct{ name, token string }{
		{"another ServiceAccount", cluster.token("system:serviceaccount:shop:frontend", defaults.Issuer, later)},
		{"a token for the API server", cluster.token(backend, clusterIssuer, later)},
		{"a token that has expired", cluster.token(backend, defaults.Issuer, w.clock.Now().Add(-time.Second))},
		{"another cluster's token", imposter.token(backend, defaults.Issuer, later)},
		{"no token", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for path, body := range map[string]string{"/backend/login": `{"username":"dave"}`, "/backend/logout-all": `{"username":"dave"}`} {
				refused(t, w.byBackend(path, tc.token, "application/json", body), http.StatusUnauthorized, issuer.ReasonInvalidToken, false)
			}
			if a := w.byBackend("/introspect", tc.token, "application/x-www-form-urlencoded", "token=x"); a.status != http.StatusUnauthorized || a.oauth != "invalid_token" {
				t.Errorf("introspect: got %d %s, want 401", a.status, a.body)
			}
		})
	}
}

func TestBackendIsToldWhatIsWrong(t *testing.T) {
	w, cluster := startWithBackend(t, config.DeliverByCookie)
	token := cluster.token(backend, defaults.Issuer, w.clock.Now().Add(time.Hour))
	for _, tc := range []struct{ name, path, body string }{
		{"no name", "/backend/login", `{"claims":{}}`},
		{"a claim that is not theirs to say", "/backend/login", `{"username":"dave","claims":{"sub":"admin"}}`},
		{"a member that nobody knows", "/backend/login", `{"username":"dave","admin":true}`},
		{"nobody to sign out", "/backend/logout-all", `{}`},
		{"a name that nobody can have", "/backend/logout-all", `{"username":"dave\u0000"}`},
		{"a name twice", "/backend/login", `{"username":"dave","username":"admin"}`},
		{"a name in another case", "/backend/login", `{"username":"dave","Username":"admin"}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			refused(t, w.byBackend(tc.path, token, "application/json", tc.body), http.StatusBadRequest, issuer.ReasonMalformed, false)
		})
	}
}

func TestBackendLearnsWhatATokenIsWorth(t *testing.T) {
	w, cluster := startWithBackend(t, config.DeliverInBody)
	token := cluster.token(backend, defaults.Issuer, w.clock.Now().Add(10*time.Hour))
	a := w.byBackend("/backend/login", token, "application/json", `{"username":"dave","claims":{"roles":["reader"]}}`)
	ask := func(about string) map[string]any {
		t.Helper()
		got := w.byBackend("/introspect", token, "application/x-www-form-urlencoded", "token="+about)
		var told map[string]any
		if err := json.Unmarshal([]byte(got.body), &told); err != nil || got.status != http.StatusOK {
			t.Fatalf("got %d %s", got.status, got.body)
		}
		return told
	}
	if got := ask(a.access); got["active"] != true || got["sub"] != "dave" || got["token_type"] != "Bearer" || !cmp.Equal(got["roles"], []any{"reader"}) {
		t.Errorf("access token: got %v, want its claims", got)
	}
	if got := ask(a.inBody); got["active"] != true || got["sub"] != "dave" || got["token_type"] != "refresh_token" || got["sid"] != w.sid(a) {
		t.Errorf("refresh token: got %v, want its session", got)
	}
	inactive := map[string]any{"active": false}
	if got := ask("x"); !cmp.Equal(got, inactive) {
		t.Errorf("no token: got %v, want %v", got, inactive)
	}
	w.do(w.form("/revoke", "token", a.access))
	for name, about := range map[string]string{"access token": a.access, "refresh token": a.inBody} {
		if got := ask(about); !cmp.Equal(got, inactive) {
			t.Errorf("%s of a session that has ended: got %v, want %v", name, got, inactive)
		}
	}
}

// A session whose password is no longer the user's, or whose user is gone, ends at its next refresh. Until then its access token is good for
// nothing here: least of all to sign out those who have changed their password because of it.
func TestAccessTokensOfSessionsThatAreOverShowAndEndNothing(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*world)
	}{
		{"another password", func(w *world) { w.rehash("alice") }},
		{"a user who is gone", func(w *world) { w.writeUsers("bob") }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cluster, trusted := newCluster(t)
			w := newWorld(t)
			c := defaults
			c.Login.Backends = trusted
			w.writeConfig(c)
			w.run()
			thief := w.login("alice")
			w.change("latchkey-users", func() { tc.change(w) })
			for _, r := range []*http.Request{w.as(thief, http.MethodGet, "/sessions"), w.as(thief, http.MethodDelete, "/sessions"),
				w.as(thief, http.MethodDelete, "/sessions/"+w.sid(thief)), w.as(thief, http.MethodPost, "/logout-all")} {
				refused(t, w.do(r), http.StatusUnauthorized, issuer.ReasonInvalidToken, false)
			}
			token := cluster.token(backend, defaults.Issuer, w.clock.Now().Add(time.Hour))
			if got := w.byBackend("/introspect", token, "application/x-www-form-urlencoded", "token="+thief.access); strings.TrimSpace(got.body) != `{"active":false}` {
				t.Errorf("introspection: got %s, want that it is worth nothing", got.body)
			}
			if got := w.do(w.form("/revoke", "token", thief.access)); got.status != http.StatusOK {
				t.Errorf("revocation: got %d %s", got.status, got.body)
			}
			refused(t, w.refresh(thief.refresh()), http.StatusUnauthorized, issuer.ReasonNoSession, false) // for it was ended by that
		})
	}
}

// The manager takes the users out of the configuration first, and then replaces the pods, whose volume still has them.
func TestPasswordsCountForNothingOnceUsersAreNoLongerAskedFor(t *testing.T) {
	_, trusted := newCluster(t)
	w := start(t)
	a := w.login("alice")
	c := defaults
	c.Login = config.Login{Backends: trusted}
	w.change("latchkey-config", func() { w.writeConfig(c) })
	refused(t, w.do(w.loginRequest("alice", passwordOf("alice"))), http.StatusUnauthorized, issuer.ReasonInvalidCredentials, false)
	refused(t, w.refresh(a.refresh()), http.StatusUnauthorized, issuer.ReasonSessionEnded, true)
}
