package sidecar_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// identity is what the app could take for the caller's identity, in whatever spelling.
func identity(header http.Header) http.Header {
	found := http.Header{}
	for name, values := range header {
		folded := strings.Map(func(r rune) rune {
			if r == '_' || r == '.' {
				return '-'
			}
			return r
		}, strings.ToLower(name))
		if strings.HasPrefix(folded, "x-auth") {
			found[name] = values
		}
	}
	return found
}

func TestIdentityHeadersComeFromTheTokenAlone(t *testing.T) {
	w := newProtectedApp(t)
	alice := w.token("alice", map[string]any{"roles": []string{"admin", "editor"}})
	noRoles := w.token("alice", nil)
	spoofs := []string{
		"X-Auth-Subject: mallory", "x-auth-subject: mallory", "X-AUTH-SUBJECT: mallory", "X_Auth_Subject: mallory", "x_auth-subject: mallory",
		"X.Auth.Subject: mallory", "X-Auth-Roles: admin", "X_AUTH_ROLES: admin",
	}
	known := http.Header{"X-Auth-Subject": {"alice"}, "X-Auth-Roles": {"admin,editor"}}

	tests := []struct {
		name    string
		path    string
		token   string
		headers []string
		want    http.Header
	}{
		{"a list is joined by commas", "/", alice, nil, known},
		{"spoofed headers are replaced", "/", alice, spoofs, known},
		{"a claim that is not there sets nothing, and a spoof does not fill in", "/", noRoles, spoofs, http.Header{"X-Auth-Subject": {"alice"}}},
		{"without a caller there are none", "/public", "", spoofs, http.Header{}},
		{"with an invalid token there are none", "/public", "rubbish", spoofs, http.Header{}},
		{"a valid token identifies on anonymous paths, too", "/public", alice, spoofs, known},
		{"Connection cannot take them out", "/", alice, []string{"Connection: X-Auth-Subject, X-Auth-Roles", "X-Auth-Subject: mallory"}, known},
		{"Connection cannot keep spoofs in", "/public", "", []string{"Connection: keep-alive, X-Auth-Subject", "X-Auth-Subject: mallory"}, http.Header{}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			lines := append([]string{"GET " + test.path + " HTTP/1.1", "Host: app"}, test.headers...)
			if test.token != "" {
				lines = append(lines, "Authorization: Bearer "+test.token)
			}
			answers := w.raw(append(lines, "", "")...)
			if len(answers) != 1 {
				t.Fatalf("got %d answers, want 1", len(answers))
			}
			if diff := cmp.Diff(identity(answers[0].seen(t).Header), test.want); diff != "" {
				t.Errorf("got -, want +:\n%s", diff)
			}
		})
	}
}

func TestTokenIsDroppedUnlessThePolicyKeepsAValidOne(t *testing.T) {
	tests := []struct {
		name          string
		keep          bool
		path          string
		authorization func(token string) string
		reaches       bool
	}{
		{"a token is dropped", false, "/", func(token string) string { return "Bearer " + token }, false},
		{"whatever the case of its scheme", false, "/", func(token string) string { return "bEARER " + token }, false},
		{"an invalid one as well", false, "/public", func(string) string { return "Bearer rubbish" }, false},
		{"one behind a tab, where some apps split, as well", true, "/public", func(string) string { return "Bearer\trubbish" }, false},
		{"one behind what Latin-1 takes for a space as well", true, "/public", func(string) string { return "bearer\xa0rubbish" }, false},
		{"one without anything between as well", true, "/public", func(string) string { return "Bearer:rubbish" }, false},
		{"a token is kept when the policy says so", true, "/", func(token string) string { return "Bearer " + token }, true},
		{"an invalid one is never kept", true, "/public", func(string) string { return "Bearer rubbish" }, false},
		{"other schemes are the app's business", false, "/public", func(string) string { return "Basic YTpi" }, true},
		{"also one whose name begins alike", false, "/public", func(string) string { return "BearerX YTpi" }, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			w.serveApp(http.HandlerFunc(echo))
			b := w.bundle()
			b.Policy.KeepToken = test.keep
			w.mount(b)
			w.start()
			got := w.do("GET", test.path, "", "Authorization: "+test.authorization(w.token("alice", nil))).seen(t)
			if reaches := got.Header.Get("Authorization") != ""; reaches != test.reaches {
				t.Errorf("got Authorization to the app: %v, want %v", reaches, test.reaches)
			}
		})
	}
}
