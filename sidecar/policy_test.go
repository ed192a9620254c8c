package sidecar_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/latchkey-dev/latchkey/internal/bundle"
	"github.com/latchkey-dev/latchkey/internal/policy"
)

// newAppBehind is the echo app behind the usual bundle with changes.
func newAppBehind(t *testing.T, change func(*bundle.Bundle)) *world {
	t.Helper()
	w := newWorld(t)
	w.serveApp(http.HandlerFunc(echo))
	b := w.bundle()
	change(b)
	w.mount(b)
	w.start()
	return w
}

func TestAuditLetsPassWhatItWouldRefuseAndTellsOfIt(t *testing.T) {
	w := newAppBehind(t, func(b *bundle.Bundle) {
		b.Policy.Mode, b.Policy.KeepToken = policy.ModeAudit, true
		b.Issuers[0].Claims.Rules = []policy.ClaimRule{{Expression: "!has(claims.suspended)", Message: "the account is suspended"}}
	})
	bob := w.token("bob", nil)
	spoof := []string{"X-Auth-Subject: mallory", "X_auth_subject: mallory"}
	for _, tc := range []struct {
		name, path, token string
		subject           string // that the app sees
		sees              bool   // the token
		status, reason    string // that it is counted under; "" for none
	}{
		{"nobody where a token is required", "/orders", "", "", false, "401", "token_required"},
		{"a token that is not valid", "/orders", "rubbish", "", false, "401", "malformed"},
		{"a token that a claim rule refuses", "/orders", w.token("eve", map[string]any{"suspended": true}), "", false, "401", "claim_rule"},
		{"a caller without the role", "/admin/users", bob, "bob", true, "403", "claims_not_met"},
		{"a caller where nobody may go", "/closed", bob, "bob", true, "403", "denied"},
		{"a caller who may pass", "/orders", bob, "bob", true, "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			counter := `latchkey_sidecar_requests_audited_total{reason="` + tc.reason + `",status="` + tc.status + `"}`
			before := w.metric(counter)
			answered := w.do("GET", tc.path, tc.token, spoof...)
			got := answered.seen(t)
			if subject := got.Header.Get("X-Auth-Subject"); subject != tc.subject || len(got.Header["X_auth_subject"]) > 0 {
				t.Errorf("got %q for the subject in %v, want %q alone", subject, got.Header, tc.subject)
			}
			if sees := got.Header.Get("Authorization") != ""; sees != tc.sees {
				t.Errorf("got the token seen: %v, want %v", sees, tc.sees)
			}
			if challenge := answered.Header.Get("WWW-Authenticate"); challenge != "" {
				t.Errorf("got challenge %q, want callers to notice nothing", challenge)
			}
			if counted := w.metric(counter) != before; counted != (tc.reason != "") {
				t.Errorf("got counted %v as %s, want the opposite", counted, counter)
			}
		})
	}
	for _, path := range []string{"/a//b", "/a/..%2fb"} {
		if got := w.do("GET", path, bob); got.Status != 400 {
			t.Errorf("got %d for %s, want 400: what is ambiguous is refused in every mode", got.Status, path)
		}
	}
	var audited []string
	for _, d := range w.decisions() {
		if d.Audited {
			audited = append(audited, strings.Join([]string{d.Path, d.Reason, d.Subject, d.Detail}, "|"))
		}
	}
	want := []string{
		"/closed|denied|bob|", "/admin/users|claims_not_met|bob|", "/orders|claim_rule||claimValidationRules[0]: the account is suspended", "/orders|malformed||",
		"/orders|token_required||",
	}
	if diff := cmp.Diff(audited, want); diff != "" {
		t.Errorf("got audited -, want +:\n%s", diff)
	}
	if got := w.raw("GET /orders HTTP/1.1", "Host: a,b", "", "")[0]; got.reason() != "ambiguous_host" {
		t.Errorf("got %+v for an ambiguous host, want it refused", got)
	}
}

func TestClaimRuleThatIsNotMetIsToldToThoseWhoRunThePolicyAlone(t *testing.T) {
	w := newAppBehind(t, func(b *bundle.Bundle) {
		b.Issuers[0].Claims.Rules = []policy.ClaimRule{{Claim: "/org/name", RequiredValue: "acme", Message: "from another organisation"}}
	})
	if got := w.do("GET", "/orders", w.token("alice", map[string]any{"org": map[string]any{"name": "acme"}})); got.Status != 200 {
		t.Errorf("got %d for a token that meets the rule, want 200", got.Status)
	}
	got := w.do("GET", "/orders", w.token("alice", map[string]any{"org": map[string]any{"name": "evil"}}))
	if got.Status != 401 || got.reason() != "invalid_token" {
		t.Errorf("got %d %s, want 401 invalid_token", got.Status, got.reason())
	}
	if strings.Contains(got.Body+got.Header.Get("WWW-Authenticate"), "organisation") {
		t.Errorf("got %s, want nothing of the message in it", got.Body)
	}
	told := w.decisions()[0]
	if want := "claimValidationRules[0]: from another organisation"; told.Reason != "claim_rule" || told.Detail != want {
		t.Errorf("got %q with detail %q among the decisions, want claim_rule with %q", told.Reason, told.Detail, want)
	}
}

func TestMappedClaimsAreThoseOfRulesAndHeaders(t *testing.T) {
	w := newAppBehind(t, func(b *bundle.Bundle) {
		b.Issuers[0].Claims.Mappings = []policy.ClaimMapping{
			{Name: "roles", Claim: "/realm_access/roles"}, {Name: "team", Expression: `"team-" + claims.org`},
		}
		b.Policy.Headers = append(b.Policy.Headers, policy.Header{Name: "X-Auth-Team", Claim: "team"})
	})
	nested := w.token("alice", map[string]any{"org": "a", "realm_access": map[string]any{"roles": []string{"admin"}}})
	got := w.do("GET", "/admin/users", nested).seen(t)
	if got.Header.Get("X-Auth-Roles") != "admin" || got.Header.Get("X-Auth-Team") != "team-a" {
		t.Errorf("got headers %v, want role admin and team-a", got.Header)
	}
	if got := w.do("GET", "/admin/users", w.token("mallory", map[string]any{"org": "a", "roles": []string{"admin"}})); got.reason() != "claims_not_met" {
		t.Errorf("got %d %s for a claim of the name that is mapped to, want claims_not_met", got.Status, got.reason())
	}
	if got := w.do("GET", "/orders", w.token("alice", nil)); got.Status != 401 || w.decisions()[0].Reason != "claim_mapping" {
		t.Errorf("got %d %s for a token that cannot be mapped, want 401 claim_mapping", got.Status, w.decisions()[0].Reason)
	}
}

func TestMissingScopesAreNamedToValidTokensOnly(t *testing.T) {
	w := newAppBehind(t, func(b *bundle.Bundle) {
		b.Policy.Rules = []policy.Rule{{Scopes: []string{"orders:read", "orders:write"}}}
	})
	got := w.do("GET", "/orders", w.token("bob", map[string]any{"scope": "orders:read"}))
	if want := `Bearer error="insufficient_scope", scope="orders:read orders:write"`; got.Status != 403 || got.reason() != "insufficient_scope" || got.Header.Get("WWW-Authenticate") != want {
		t.Errorf("got %d %s and challenge %q, want 403 insufficient_scope and %q", got.Status, got.reason(), got.Header.Get("WWW-Authenticate"), want)
	}
	for _, token := range []string{"", "rubbish"} {
		if got := w.do("GET", "/orders", token).Header.Get("WWW-Authenticate"); strings.Contains(got, "scope") {
			t.Errorf("got challenge %q for token %q, want no scope in it", got, token)
		}
	}
	if got := w.do("GET", "/orders", w.token("bob", map[string]any{"scope": "orders:read orders:write"})); got.Status != 200 {
		t.Errorf("got %d with both scopes, want 200", got.Status)
	}
}

func TestExpressionsJudgeTheRequestThatTheAppSees(t *testing.T) {
	w := newAppBehind(t, func(b *bundle.Bundle) {
		b.Policy.Rules = []policy.Rule{
			{Paths: []policy.Path{{Pattern: "/users/*/**"}}, Expression: `request.path.startsWith("/users/" + claims.sub + "/")`},
			{Paths: []policy.Path{{Prefix: "/echo"}}, Expression: `!("x-forwarded-for" in request.headers) && !("authorization" in request.headers) && request.headers["x-a"] == ["b"]`},
		}
	})
	bob := w.token("bob", nil)
	for _, tc := range []struct {
		path   string
		status int
		reason string
	}{
		{"/users/bob/orders", 200, ""},
		{"/users/b%6fb/orders", 200, ""},
		{"/users/alice/orders", 403, "expression_false"},
		{"/Users/alice/orders", 403, "expression_false"},
		{"/users/bob/../alice/orders", 400, "ambiguous_path"},
		{"/echo", 200, ""},
	} {
		got := w.do("GET", tc.path, bob, "X-A: b", "X-Forwarded-For: 10.0.0.1")
		if got.Status != tc.status || tc.reason != "" && w.decisions()[0].Reason != tc.reason {
			t.Errorf("%s: got %d and decisions %+v, want %d %s", tc.path, got.Status, w.decisions(), tc.status, tc.reason)
		}
	}
	if got := w.do("GET", "/echo", bob); got.Status != 403 || w.decisions()[0].Reason != "expression_error" {
		t.Errorf("got %d %s without the header, want 403 expression_error", got.Status, w.decisions()[0].Reason)
	}
}

func TestHostIsJudgedAsTheAppSeesIt(t *testing.T) {
	w := newAppBehind(t, func(b *bundle.Bundle) {
		b.Policy.Default = policy.AccessDeny
		b.Policy.Rules = []policy.Rule{
			{Hosts: []string{"admin.shop.example"}, Access: policy.AccessDeny},
			{Hosts: []string{"*.shop.example"}, Access: policy.AccessAnonymous},
		}
	})
	request := func(line string, headers ...string) []string {
		return append([]string{line}, append(headers, "", "")...)
	}
	for _, tc := range []struct {
		name   string
		lines  []string
		status int
		reason string
		host   string // that the app sees
	}{
		{"a host", request("GET / HTTP/1.1", "Host: www.shop.example"), 200, "", "www.shop.example"},
		{"a host in capital letters with port and dot", request("GET / HTTP/1.1", "Host: WWW.Shop.example.:80"), 200, "", "WWW.Shop.example.:80"},
		{"a guarded host however it is spelt", request("GET / HTTP/1.1", "Host: Admin.SHOP.example.:8080"), 403, "denied", ""},
		{"another host", request("GET / HTTP/1.1", "Host: shop.example"), 403, "denied", ""},
		{"a host in an absolute target, which counts", request("GET http://admin.shop.example/ HTTP/1.1", "Host: www.shop.example"), 403, "denied", ""},
		{"a host in an absolute target, which the app sees", request("GET http://www.shop.example/ HTTP/1.1", "Host: admin.shop.example"), 200, "", "www.shop.example"},
		{"a forwarded host, which does not count", request("GET / HTTP/1.1", "Host: admin.shop.example", "X-Forwarded-Host: www.shop.example"), 403, "denied", ""},
		{"a list of hosts", request("GET / HTTP/1.1", "Host: www.shop.example,admin.shop.example"), 400, "ambiguous_host", ""},
		{"a user before the host", request("GET / HTTP/1.1", "Host: admin.shop.example@www.shop.example"), 400, "", ""},
		{"an empty label", request("GET / HTTP/1.1", "Host: admin..shop.example"), 400, "ambiguous_host", ""},
		{"an empty host", request("GET / HTTP/1.1", "Host:"), 400, "host_missing", ""},
		{"no host", request("GET / HTTP/1.0"), 400, "host_missing", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := w.raw(tc.lines...)
			if len(got) == 0 || got[0].Status != tc.status || got[0].reason() != tc.reason {
				t.Fatalf("got %+v, want %d %s", got, tc.status, tc.reason)
			}
			if tc.status == 200 && got[0].seen(t).Host != tc.host {
				t.Errorf("got host %q at the app, want %q", got[0].seen(t).Host, tc.host)
			}
		})
	}
}
