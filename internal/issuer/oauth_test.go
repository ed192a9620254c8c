package issuer_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/latchkey-dev/latchkey/internal/issuer"
	"github.com/latchkey-dev/latchkey/internal/issuer/config"
)

// startInBody runs a token service whose refresh tokens travel in bodies, and whose issuer is where it is reached.
func startInBody(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	c := defaults
	c.Delivery, c.Issuer = config.DeliverInBody, "https://"+w.address
	w.writeConfig(c)
	w.run()
	return w
}

func inBody(token string) string { return `{"refresh_token":"` + token + `"}` }

func TestRefreshTokensInBodies(t *testing.T) {
	w := startInBody(t)
	first := w.login("alice")
	if first.cookie != nil || first.inBody == "" {
		t.Fatalf("login: got cookie %v and body %s, want the refresh token in the body and no cookie", first.cookie, first.body)
	}
	second := w.do(w.post("/refresh", "", inBody(first.inBody)))
	if second.status != http.StatusOK || second.cookie != nil || second.inBody == "" || second.inBody == first.inBody {
		t.Fatalf("refresh: got %d %s, want another refresh token in the body", second.status, second.body)
	}

	t.Run("do not come by cookie", func(t *testing.T) {
		refused(t, w.do(w.post("/refresh", second.inBody, `{}`)), http.StatusUnauthorized, issuer.ReasonNoSession, false)
	})
	t.Run("come as JSON, which no form across origins is", func(t *testing.T) {
		r := w.post("/refresh", "", inBody(second.inBody))
		r.Header.Set("Content-Type", "text/plain")
		refused(t, w.do(r), http.StatusUnsupportedMediaType, issuer.ReasonMalformed, false)
	})
	t.Run("end their session when they come again too late", func(t *testing.T) {
		other := w.login("bob")
		next := w.do(w.post("/refresh", "", inBody(other.inBody)))
		w.clock.step(time.Minute)
		refused(t, w.do(w.post("/refresh", "", inBody(other.inBody))), http.StatusUnauthorized, issuer.ReasonReuseDetected, false)
		refused(t, w.do(w.post("/refresh", "", inBody(next.inBody))), http.StatusUnauthorized, issuer.ReasonNoSession, false)
	})
	t.Run("end their session at logout", func(t *testing.T) {
		if a := w.do(w.post("/logout", "", inBody(second.inBody))); a.status != http.StatusNoContent || a.cookie != nil {
			t.Fatalf("logout: got %d %s and cookie %v, want 204 and none", a.status, a.body, a.cookie)
		}
		refused(t, w.do(w.post("/refresh", "", inBody(second.inBody))), http.StatusUnauthorized, issuer.ReasonNoSession, false)
	})
}

func TestRefreshTokensByCookieDoNotComeInBodies(t *testing.T) {
	w := start(t)
	token := w.login("alice").refresh()
	refused(t, w.do(w.post("/refresh", "", inBody(token))), http.StatusUnauthorized, issuer.ReasonNoSession, false)
	a := w.do(w.form("/token", "grant_type", "refresh_token", "refresh_token", token))
	if a.status != http.StatusNotFound {
		t.Errorf("token endpoint: got %d %s, want 404", a.status, a.body)
	}
	w.mustRefresh(token)
}

func TestTokenEndpointRefuses(t *testing.T) {
	w := startInBody(t)
	token := w.login("alice").inBody
	for _, tc := range []struct {
		name   string
		params []string
		want   string
	}{
		{"no grant type", []string{"refresh_token", token}, "invalid_request"},
		{"another grant", []string{"grant_type", "password", "username", "alice", "password", passwordOf("alice")}, "unsupported_grant_type"},
		{"no token", []string{"grant_type", "refresh_token"}, "invalid_request"},
		{"a parameter twice", []string{"grant_type", "refresh_token", "refresh_token", token, "refresh_token", token}, "invalid_request"},
		{"a token of nobody", []string{"grant_type", "refresh_token", "refresh_token", "x"}, "invalid_grant"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := w.do(w.form("/token", tc.params...))
			if a.status != http.StatusBadRequest || a.oauth != tc.want {
				t.Errorf("got %d %s, want 400 %s", a.status, a.body, tc.want)
			}
		})
	}
	t.Run("JSON", func(t *testing.T) {
		a := w.do(w.post("/token", "", `{"grant_type":"refresh_token","refresh_token":"`+token+`"}`))
		if a.status != http.StatusUnsupportedMediaType {
			t.Errorf("got %d %s, want 415", a.status, a.body)
		}
	})
	t.Run("the token stays good", func(t *testing.T) {
		if a := w.do(w.form("/token", "grant_type", "refresh_token", "refresh_token", token)); a.status != http.StatusOK {
			t.Errorf("got %d %s, want 200", a.status, a.body)
		}
	})
}

func TestRevocationEndsTheSessionOfEitherToken(t *testing.T) {
	w := start(t)
	for _, tc := range []struct {
		name  string
		token func(answer) string
		ended bool
	}{
		{"of a refresh token", answer.refresh, true},
		{"of an access token", func(a answer) string { return a.access }, true},
		{"of no token of ours", func(answer) string { return "x" }, false},
		{"of an access token that somebody changed", func(a answer) string { return a.access[:len(a.access)-4] + "AAAA" }, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := w.login("alice")
			if got := w.do(w.form("/revoke", "token", tc.token(a), "token_type_hint", "anything")); got.status != http.StatusOK || got.body != "" {
				t.Fatalf("revoke: got %d %s, want 200 and no body", got.status, got.body)
			}
			after := w.refresh(a.refresh())
			if tc.ended {
				refused(t, after, http.StatusUnauthorized, issuer.ReasonNoSession, false)
			} else if after.status != http.StatusOK {
				t.Errorf("refresh: got %d %s, want 200", after.status, after.body)
			}
		})
	}
	t.Run("asks for a token", func(t *testing.T) {
		if a := w.do(w.form("/revoke", "token_type_hint", "refresh_token")); a.status != http.StatusBadRequest || a.oauth != "invalid_request" {
			t.Errorf("got %d %s, want 400 invalid_request", a.status, a.body)
		}
	})
	t.Run("does nothing for an access token that has expired", func(t *testing.T) {
		a := w.login("alice")
		w.clock.step(6 * time.Minute)
		if got := w.do(w.form("/revoke", "token", a.access)); got.status != http.StatusOK {
			t.Fatalf("revoke: got %d %s", got.status, got.body)
		}
		w.mustRefresh(a.refresh())
	})
}

// Two libraries that nobody here wrote find everything by the issuer's URL alone.
func TestForeignClientLibrariesFindTheirWay(t *testing.T) {
	w := startInBody(t)
	ctx := oidc.ClientContext(context.Background(), w.client)
	provider, err := oidc.NewProvider(ctx, "https://"+w.address)
	if err != nil {
		t.Fatal(err)
	}
	signedIn := w.login("alice")

	client := oauth2.Config{ClientID: "phone", Endpoint: provider.Endpoint()}
	renewed, err := client.TokenSource(ctx, &oauth2.Token{RefreshToken: signedIn.inBody}).Token()
	if err != nil {
		t.Fatal(err)
	}
	if renewed.RefreshToken == "" || renewed.RefreshToken == signedIn.inBody || renewed.Type() != "Bearer" {
		t.Errorf("got a token of type %s, want a Bearer token and another refresh token", renewed.Type())
	}

	verified, err := provider.VerifierContext(ctx, &oidc.Config{ClientID: "shop", Now: w.clock.Now}).Verify(ctx, renewed.AccessToken)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := verified.Subject, "alice"; got != want {
		t.Errorf("sub: got %s, want %s", got, want)
	}
}
