//go:build e2e

package e2e

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

// Namespace quickstart enforces the restricted Pod Security Standard: the sidecar stands in front of the app there by Loopback.
func TestTheQuickstartWorksAsItIsInARestrictedNamespace(t *testing.T) {
	a := quickstart(t, "quickstart", 1)
	app := a.service()

	t.Run("nobody passes without a token", func(*testing.T) {
		for _, address := range []string{app, a.addresses()[0]} {
			got := a.gets(address+"/", "", http.StatusUnauthorized)
			if challenge := got.header.Get("WWW-Authenticate"); !strings.HasPrefix(challenge, "Bearer") {
				a.Errorf("WWW-Authenticate is %q, want the Bearer scheme", challenge)
			}
		}
		a.gets(app+"/public", "", http.StatusOK)
	})
	t.Run("the app sees who calls, and nothing that the caller claims", func(t *testing.T) {
		got, err := send(t.Context(), http.MethodGet, app+"/", http.Header{
			"Authorization": {"Bearer " + a.signIn("alice").access}, "X-Auth-Subject": {"root"}, "x_auth_roles": {"owner"},
		}, "")
		must(t, err)
		must(t, got.is(http.StatusOK))
		var seen struct{ Headers http.Header }
		must(t, json.Unmarshal(got.body, &seen))
		for name, want := range map[string]string{
			"X-Auth-Subject": "alice", "X-Auth-Email": "alice@quickstart.example", "X-Auth-Roles": "admin", "Authorization": "",
		} {
			if got := strings.Join(seen.Headers.Values(name), ", "); got != want {
				t.Errorf("the app sees %s: %q, want %q", name, got, want)
			}
		}
		if strings.Contains(string(got.body), "root") || strings.Contains(string(got.body), "owner") {
			t.Errorf("the app sees what the caller claims: %s", got.body)
		}
	})
	t.Run("roles decide", func(*testing.T) {
		a.gets(app+"/admin", a.signIn("alice").access, http.StatusOK)
		a.gets(app+"/admin", a.signIn("bob").access, http.StatusForbidden)
	})
	t.Run("a refresh gives a new pair", func(t *testing.T) {
		before := a.signIn("bob")
		after, err := refresh(t.Context(), app, before)
		must(t, err)
		if after.access == before.access || after.refresh == before.refresh {
			t.Error("a token of the pair is the same as before")
		}
		a.gets(app+"/", after.access, http.StatusOK)
	})
}
