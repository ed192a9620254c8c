package issuer_test

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/latchkey-dev/latchkey/internal/issuer"
	"github.com/latchkey-dev/latchkey/internal/issuer/config"
	"github.com/latchkey-dev/latchkey/internal/issuer/webhook"
)

// scoped checks which scopes an answer grants, in its token and beside it; "" is none.
func (w *world) scoped(a answer, want string) {
	w.t.Helper()
	var told struct{ Scope *string }
	if err := json.Unmarshal([]byte(a.body), &told); err != nil || a.status != http.StatusOK {
		w.t.Fatalf("got %d %s", a.status, a.body)
	}
	_, claims := w.claims(a.access)
	if want == "" {
		if _, there := claims["scope"]; there || told.Scope != nil {
			w.t.Errorf("got scope %v in the token and %v beside it, want none", claims["scope"], told.Scope)
		}
		return
	}
	if claims["scope"] != want || told.Scope == nil || *told.Scope != want {
		w.t.Errorf("got scope %v in the token and %s, want %s", claims["scope"], a.body, want)
	}
}

func TestTokensHaveTheScopesOfEverybodyOrOfTheirUser(t *testing.T) {
	for _, tc := range []struct {
		name      string
		everybody []string
		claims    string // that the app says of the user
		want      string
	}{
		{"none", nil, `{}`, ""},
		{"those of everybody", []string{"orders:read", "profile"}, `{}`, "orders:read profile"},
		{"the user's own instead", []string{"orders:read", "profile"}, `{"scope":"orders:read orders:write"}`, "orders:read orders:write"},
		{"the user's own alone", nil, `{"scope":"profile"}`, "profile"},
		{"one of the user's own once", nil, `{"scope":"profile profile"}`, "profile"},
		{"none of the user's own", []string{"orders:read"}, `{"scope":""}`, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorldWithWebhook(t, func(webhook.Attempt, http.Header) (int, string) {
				return 200, `{"username":"carol","claims":` + tc.claims + `}`
			}, func(c *config.Config) { c.Scopes = tc.everybody })
			w.run()
			a := w.do(w.loginRequest("carol", "right"))
			w.scoped(a, tc.want)
			w.scoped(w.mustRefresh(a.refresh()), tc.want)
		})
	}
}

func TestARefreshMayAskForFewerScopes(t *testing.T) {
	w := newWorld(t)
	c := defaults
	c.Delivery, c.Scopes = config.DeliverInBody, []string{"orders:read", "orders:write", "profile"}
	w.writeConfig(c)
	w.run()
	token := w.login("alice").inBody
	ask := func(scopes string) answer {
		t.Helper()
		return w.do(w.form("/token", "grant_type", "refresh_token", "refresh_token", token, "scope", scopes))
	}
	for _, tc := range []struct{ name, asked, want string }{
		{"one", "profile", "profile"},
		{"two", "orders:read profile", "orders:read profile"},
		{"one that is said twice", "profile profile", "profile"},
		{"all again, for the refresh token keeps them", "", "orders:read orders:write profile"},
	} {
		t.Run(tc.name, func(*testing.T) {
			a := ask(tc.asked)
			w.scoped(a, tc.want)
			token = a.inBody
		})
	}
	for _, tc := range []struct{ name, asked string }{
		{"one more", "profile admin"},
		{"one in another case", "Profile"},
		{"a part of one", "orders"},
		{"what is no scope", `pro"file`},
		{"two spaces", "orders:read  profile"},
	} {
		t.Run("and no more: "+tc.name, func(t *testing.T) {
			if a := ask(tc.asked); a.status != http.StatusBadRequest || a.oauth != string(issuer.ReasonInvalidScope) || a.access != "" {
				t.Errorf("got %d %s, want 400 invalid_scope", a.status, a.body)
			}
		})
	}
	t.Run("and is no way round the end of a session", func(t *testing.T) {
		w.clock.step(defaults.ReuseWindow) // until half of it a token is kept
		old := token
		token = ask("").inBody
		w.clock.step(defaults.ReuseWindow)
		token, old = old, token
		if a := ask("admin"); a.oauth != "invalid_grant" {
			t.Errorf("an old refresh token: got %d %s, want invalid_grant", a.status, a.body)
		}
		token = old
		if a := ask("profile"); a.oauth != "invalid_grant" {
			t.Errorf("the session that it ended: got %d %s, want invalid_grant", a.status, a.body)
		}
	})
}

func TestScopesOfAnAccessTokenFollowTheConfiguration(t *testing.T) {
	w := start(t)
	a := w.login("alice")
	w.scoped(a, "")
	c := defaults
	c.Scopes = []string{"profile"}
	w.change("latchkey-config", func() { w.writeConfig(c) })
	w.scoped(w.mustRefresh(a.refresh()), "profile")
	var metadata map[string]any
	if err := json.Unmarshal([]byte(w.do(w.get("/.well-known/oauth-authorization-server")).body), &metadata); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(metadata["scopes_supported"], any([]any{"profile"})); diff != "" {
		t.Errorf("scopes_supported (-got +want):\n%s", diff)
	}
}

func TestBackendLearnsTheScopesOfATokenAndMayGrantThem(t *testing.T) {
	w, cluster := startWithBackend(t, config.DeliverInBody)
	token := cluster.token(backend, defaults.Issuer, w.clock.Now().Add(time.Hour))
	a := w.byBackend("/backend/login", token, "application/json", `{"username":"dave","claims":{"scope":"orders:read orders:write"}}`)
	w.scoped(a, "orders:read orders:write")
	narrow := w.do(w.form("/token", "grant_type", "refresh_token", "refresh_token", a.inBody, "scope", "orders:read"))
	for _, tc := range []struct{ name, about, want string }{
		{"an access token's own", narrow.access, "orders:read"},
		{"a refresh token's all", narrow.inBody, "orders:read orders:write"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := w.byBackend("/introspect", token, "application/x-www-form-urlencoded", "token="+tc.about)
			var told map[string]any
			if err := json.Unmarshal([]byte(got.body), &told); err != nil || told["scope"] != tc.want {
				t.Errorf("got %s, want scope %s", got.body, tc.want)
			}
		})
	}
	for _, claims := range []string{`{"scope":["orders:read"]}`, `{"scope":"a  b"}`, `{"scope":null}`, `{"scp":"admin"}`} {
		refused(t, w.byBackend("/backend/login", token, "application/json", `{"username":"dave","claims":`+claims+`}`), http.StatusBadRequest, issuer.ReasonMalformed, false)
	}
}
