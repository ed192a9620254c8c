package policy_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/latchkey-dev/latchkey/internal/policy"
)

// shop is a policy as people write them.
var shop = policy.Document{Rules: []policy.Rule{
	{Paths: []policy.Path{{Exact: "/"}, {Prefix: "/public"}}, Methods: []string{"GET", "HEAD"}, Access: policy.AccessAnonymous},
	{Paths: []policy.Path{{Exact: "/admin/health"}}, Access: policy.AccessAnonymous},
	{Paths: []policy.Path{{Prefix: "/admin"}}, Claims: []policy.Requirement{
		{Claim: "roles", AnyOf: []string{"admin", "root"}},
		{Claim: "tenant", AnyOf: []string{"acme"}},
	}},
	{Paths: []policy.Path{{Prefix: "/internal"}}, Access: policy.AccessDeny},
	{Paths: []policy.Path{{Prefix: "/orders"}, {Exact: "/cart"}}, Access: policy.AccessAuthenticated},
}}

func TestDecide(t *testing.T) {
	user := map[string]any{"sub": "bob", "roles": []any{"viewer"}}
	admin := map[string]any{"sub": "alice", "roles": []any{json.Number("1"), "root"}, "tenant": "acme"}
	byDefault := func(access policy.Access) policy.Document { return policy.Document{Rules: shop.Rules, Default: access} }

	for _, tc := range []struct {
		name         string
		document     policy.Document
		method, path string
		claims       map[string]any
		want         policy.Decision
	}{
		{"lets everybody see the public part", shop, "GET", "/public/a.css", nil, policy.Decision{Allow: true, Reason: policy.ReasonAnonymous, Rule: 0}},
		{"matches a prefix itself", shop, "GET", "/public", nil, policy.Decision{Allow: true, Reason: policy.ReasonAnonymous, Rule: 0}},
		{"matches a prefix with a slash behind it", shop, "GET", "/public/", nil, policy.Decision{Allow: true, Reason: policy.ReasonAnonymous, Rule: 0}},
		{"matches a prefix by whole segments", shop, "GET", "/publicity", nil, policy.Decision{Reason: policy.ReasonNoRule, Rule: policy.NoRule}},
		{"minds the case of paths", shop, "GET", "/Public", nil, policy.Decision{Reason: policy.ReasonNoRule, Rule: policy.NoRule}},
		{"matches the exact root", shop, "GET", "/", nil, policy.Decision{Allow: true, Reason: policy.ReasonAnonymous, Rule: 0}},
		{"matches an exact path only", shop, "GET", "/cart/", user, policy.Decision{Reason: policy.ReasonNoRule, Rule: policy.NoRule}},
		{"leaves other methods to later rules", shop, "POST", "/public", user, policy.Decision{Reason: policy.ReasonNoRule, Rule: policy.NoRule}},
		{"does not take HEAD for GET", policy.Document{Rules: []policy.Rule{{Methods: []string{"GET"}, Access: policy.AccessAnonymous}}},
			"HEAD", "/", nil, policy.Decision{Reason: policy.ReasonNoRule, Rule: policy.NoRule}},
		{"takes the first rule in document order, not the longest path",
			policy.Document{Rules: []policy.Rule{
				{Paths: []policy.Path{{Prefix: "/a"}}, Access: policy.AccessDeny},
				{Paths: []policy.Path{{Exact: "/a/b"}}, Access: policy.AccessAnonymous},
			}}, "GET", "/a/b", nil, policy.Decision{Reason: policy.ReasonDenied, Rule: 0}},
		{"lets an earlier exception through", shop, "GET", "/admin/health", nil, policy.Decision{Allow: true, Reason: policy.ReasonAnonymous, Rule: 1}},
		{"asks for a token", shop, "GET", "/admin", nil, policy.Decision{Reason: policy.ReasonTokenRequired, Rule: 2}},
		{"asks for the claims", shop, "GET", "/admin", user, policy.Decision{Reason: policy.ReasonClaimsNotMet, Rule: 2}},
		{"asks for all of the claims", shop, "GET", "/admin", map[string]any{"roles": "admin"}, policy.Decision{Reason: policy.ReasonClaimsNotMet, Rule: 2}},
		{"takes one of the values out of a list", shop, "GET", "/admin", admin, policy.Decision{Allow: true, Reason: policy.ReasonAuthenticated, Rule: 2}},
		{"lets nobody pass where it denies", shop, "GET", "/internal/x", admin, policy.Decision{Reason: policy.ReasonDenied, Rule: 3}},
		{"takes a valid token without any claims for a valid token", shop, "GET", "/cart", map[string]any{},
			policy.Decision{Allow: true, Reason: policy.ReasonAuthenticated, Rule: 4}},
		{"denies by default", shop, "GET", "/other", admin, policy.Decision{Reason: policy.ReasonNoRule, Rule: policy.NoRule}},
		{"denies when told so", byDefault(policy.AccessDeny), "GET", "/other", admin, policy.Decision{Reason: policy.ReasonNoRule, Rule: policy.NoRule}},
		{"asks for a token by default", byDefault(policy.AccessAuthenticated), "GET", "/other", nil,
			policy.Decision{Reason: policy.ReasonTokenRequired, Rule: policy.NoRule}},
		{"takes a token by default", byDefault(policy.AccessAuthenticated), "GET", "/other", user,
			policy.Decision{Allow: true, Reason: policy.ReasonAuthenticated, Rule: policy.NoRule}},
		{"refuses a method in small letters, which some apps take for the capital one", shop, "delete", "/cart", admin,
			policy.Decision{Reason: policy.ReasonMethodRefused, Rule: policy.NoRule}},
		{"refuses to open a tunnel, in which nothing would be judged", shop, "CONNECT", "/public", admin,
			policy.Decision{Reason: policy.ReasonMethodRefused, Rule: policy.NoRule}},
		{"refuses an empty method", shop, "", "/cart", admin, policy.Decision{Reason: policy.ReasonMethodRefused, Rule: policy.NoRule}},
		{"matches no rule with a path that was not normalised, not even one for every path",
			policy.Document{Rules: []policy.Rule{{Access: policy.AccessAnonymous}}}, "OPTIONS", "*", nil,
			policy.Decision{Reason: policy.ReasonNoRule, Rule: policy.NoRule}},
		{"decides by a document without rules", policy.Document{}, "GET", "/", admin, policy.Decision{Reason: policy.ReasonNoRule, Rule: policy.NoRule}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := decide(compile(t, tc.document), policy.Request{Method: tc.method, Path: tc.path}, tc.claims)
			if got != tc.want {
				t.Errorf("got %+v, want %+v", got, tc.want)
			}
		})
	}
}

func TestClaimsAreMetByStringsAlone(t *testing.T) {
	program := compile(t, policy.Document{Rules: []policy.Rule{{Claims: []policy.Requirement{{Claim: "c", AnyOf: []string{"1", "true", ""}}}}}})
	for _, tc := range []struct {
		name  string
		claim any
		want  bool
	}{
		{"a string", "1", true},
		{"an empty string that is asked for", "", true},
		{"a list with the string", []any{nil, "x", "1"}, true},
		{"a string in another case", "TRUE", false},
		{"a string with white space", " 1", false},
		{"several values in one string", "1 true", false},
		{"a number", json.Number("1"), false},
		{"a float", float64(1), false},
		{"a boolean", true, false},
		{"null", nil, false},
		{"an object with the string as a member", map[string]any{"1": "1"}, false},
		{"a list in a list", []any{[]any{"1"}}, false},
		{"an empty list", []any{}, false},
		{"a list of numbers", []any{json.Number("1")}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := decide(program, policy.Request{Method: "GET", Path: "/"}, map[string]any{"c": tc.claim}).Allow
			if got != tc.want {
				t.Errorf("got allow %t, want %t", got, tc.want)
			}
		})
	}
	if got := decide(program, policy.Request{Method: "GET", Path: "/"}, map[string]any{"C": "1"}); got.Allow {
		t.Errorf("got %+v for a claim in another case, want a refusal", got)
	}
}

// wide is a document with one rule that matters and n others that cannot match, beside it in the same branches of hosts and paths.
func wide(n int) policy.Document {
	var d policy.Document
	for i := range n {
		r := policy.Rule{Methods: []string{"GET", "PUT"}}
		switch i % 4 {
		case 0:
			r.Paths = []policy.Path{{Exact: fmt.Sprintf("/tenants/acme/orders/%d", i)}}
		case 1:
			r.Paths = []policy.Path{{Prefix: fmt.Sprintf("/service-%d/api", i)}}
		case 2:
			r.Paths = []policy.Path{{Pattern: fmt.Sprintf("/tenants/*/orders/*/part-%d", i)}, {Pattern: fmt.Sprintf("/*/acme/reports/%d/**", i)}}
		case 3:
			r.Hosts = []string{fmt.Sprintf("*.team-%d.shop.example", i), fmt.Sprintf("team-%d.shop.example", i)}
		}
		d.Rules = append(d.Rules, r)
	}
	d.Rules = append(d.Rules, policy.Rule{
		Hosts:  []string{"*.shop.example"},
		Paths:  []policy.Path{{Pattern: "/tenants/*/orders/**"}},
		Claims: []policy.Requirement{{Claim: "/realm_access/roles", AnyOf: []string{"admin", "editor"}}},
		Scopes: []string{"orders:read"},
	})
	return d
}

var editor = map[string]any{
	"sub": "alice", "realm_access": map[string]any{"roles": []any{"viewer", "reader", "editor"}}, "scope": "openid profile orders:read",
}

func TestDecideAllocatesNothing(t *testing.T) {
	program := compile(t, wide(100))
	for _, tc := range []struct {
		name    string
		request policy.Request
		claims  map[string]any
		want    policy.Reason
	}{
		{"when it allows", get("/tenants/acme/orders/x/lines/7"), editor, policy.ReasonAuthenticated},
		{"when it asks for a token", get("/tenants/acme/orders"), nil, policy.ReasonTokenRequired},
		{"when claims are missing", get("/tenants/acme/orders"), map[string]any{"realm_access": map[string]any{}}, policy.ReasonClaimsNotMet},
		{"when scopes are missing", get("/tenants/acme/orders"), map[string]any{"realm_access": editor["realm_access"], "scope": "a b c"}, policy.ReasonInsufficientScope},
		{"when no rule matches", get("/nowhere"), editor, policy.ReasonNoRule},
		{"when no host matches", policy.Request{Method: "GET", Host: "a.b.c.d.example", Path: "/tenants/acme/orders"}, editor, policy.ReasonNoRule},
		{"when it refuses the method", policy.Request{Method: "get", Host: "www.shop.example", Path: "/"}, editor, policy.ReasonMethodRefused},
		{"with a very long path", get(strings.Repeat("/tenants", 1000)), editor, policy.ReasonNoRule},
		{"with a very long host", policy.Request{Method: "GET", Host: strings.Repeat("a.", 120) + "shop.example", Path: "/tenants/acme/orders"}, editor, policy.ReasonAuthenticated},
		{"when a capital letter asks for a second look", get("/Tenants/Acme/orders/8/"), editor, policy.ReasonNoRule},
		{"with a very long path in capital letters", get(strings.Repeat("/TENANTS", 1000)), editor, policy.ReasonNoRule},
		{"with a very long segment in capital letters", get("/" + strings.Repeat("TENANTS", 1000)), editor, policy.ReasonNoRule},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := decide(program, tc.request, tc.claims); got.Reason != tc.want {
				t.Errorf("got %+v, want %s", got, tc.want)
			}
			claims := program.Read(tc.claims)
			got := testing.AllocsPerRun(100, func() { _ = program.Decide(tc.request, claims) })
			if got != 0 {
				t.Errorf("got %v allocations, want 0", got)
			}
		})
	}
}

func get(path string) policy.Request {
	return policy.Request{Method: "GET", Host: "www.shop.example", Path: path}
}

func BenchmarkDecide(b *testing.B) {
	for _, rules := range []int{1, 20, 500, 10_000} {
		program := compile(b, wide(rules))
		b.Run(fmt.Sprintf("beside_%d_rules", rules), func(b *testing.B) {
			request, claims := get("/tenants/acme/orders/x/lines"), program.Read(editor)
			b.ReportAllocs()
			for b.Loop() {
				if !program.Decide(request, claims).Allow {
					b.Fatal("got a refusal")
				}
			}
		})
	}
}

func BenchmarkDecideWithCapitalLetters(b *testing.B) {
	program := compile(b, wide(100))
	request, claims := get("/Tenants/acme/orders/x/lines"), program.Read(editor)
	b.ReportAllocs()
	for b.Loop() {
		if program.Decide(request, claims).Allow {
			b.Fatal("got it allowed, want it refused by default")
		}
	}
}

func BenchmarkCompile(b *testing.B) {
	document := wide(256)
	b.ReportAllocs()
	for b.Loop() {
		compile(b, document)
	}
}

func TestProgramTellsItsSettings(t *testing.T) {
	program := compile(t, policy.Document{Mode: policy.ModeAudit, KeepToken: true, Headers: []policy.Header{{Name: "X-Roles", Claim: "roles"}}})
	if !program.Audits() || !program.KeepToken() {
		t.Errorf("got Audits %v and KeepToken %v, want both", program.Audits(), program.KeepToken())
	}
	if program = compile(t, policy.Document{Mode: policy.ModeEnforce}); program.Audits() || program.KeepToken() {
		t.Errorf("got Audits %v and KeepToken %v without them, want neither", program.Audits(), program.KeepToken())
	}
	for name, want := range map[string]bool{"X-Token": true, "X-Auth-Subject": false, "Authorization": false, "X-Forwarded-For": false} {
		if got := program.MayCarryToken(name); got != want {
			t.Errorf("got %v for whether %s may carry a token, want %v", got, name, want)
		}
	}
}

func TestEachDecisionHasAStatus(t *testing.T) {
	program := compile(t, policy.Document{Rules: []policy.Rule{
		{Hosts: []string{"a.example"}, Paths: []policy.Path{{Exact: "/scope"}}, Scopes: []string{"s"}}, {Paths: []policy.Path{{Exact: "/closed"}}, Access: policy.AccessDeny},
	}})
	for _, tc := range []struct {
		request policy.Request
		claims  map[string]any
		want    int
	}{
		{policy.Request{Method: "GET", Host: "a.example", Path: "/scope"}, map[string]any{"scp": "s"}, 0},
		{policy.Request{Method: "GET", Host: "a.example", Path: "/scope"}, map[string]any{}, 403},
		{policy.Request{Method: "GET", Host: "a.example", Path: "/scope"}, nil, 401},
		{policy.Request{Method: "GET", Host: "a.example", Path: "/closed"}, nil, 403},
		{policy.Request{Method: "GET", Host: "a.example", Path: "/"}, nil, 403},
		{policy.Request{Method: "get", Host: "a.example", Path: "/"}, nil, 400},
		{policy.Request{Method: "GET", Path: "/scope"}, nil, 400},
	} {
		if got := decide(program, tc.request, tc.claims); got.Status() != tc.want {
			t.Errorf("got status %d for %+v, want %d", got.Status(), got, tc.want)
		}
	}
}
