package policy_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/latchkey-dev/latchkey/internal/policy"
)

const (
	badHost  = `must be a host such as shop.example.com or *.example.com: in small letters, without a port, and with no "*" but one for all the names below`
	badScope = "must be one scope: 1 to 128 visible ASCII characters, without a quotation mark or backslash"
)

func TestCompileRefuses(t *testing.T) {
	paths := func(paths ...policy.Path) policy.Document {
		return policy.Document{Rules: []policy.Rule{{Paths: paths}}}
	}
	headers := func(names ...string) policy.Document {
		var d policy.Document
		for _, name := range names {
			d.Headers = append(d.Headers, policy.Header{Name: name, Claim: "sub"})
		}
		return d
	}
	for _, tc := range []struct {
		name string
		in   policy.Document
		want []string
	}{
		{"a path that is neither exact nor prefix", paths(policy.Path{}), []string{"rules[0].paths[0]: set exactly one of exact, prefix and pattern"}},
		{"a path that is both", paths(policy.Path{Exact: "/a", Prefix: "/b"}), []string{"rules[0].paths[0]: set exactly one of exact, prefix and pattern"}},
		{"a relative path", paths(policy.Path{Exact: "/"}, policy.Path{Prefix: "admin"}), []string{
			`rules[0].paths[1].prefix: must start with "/"`,
		}},
		{"a prefix with a slash at its end", paths(policy.Path{Prefix: "/admin/"}), []string{
			`rules[0].paths[0].prefix: must not end with "/": a prefix matches its own path and everything below it`,
		}},
		{"paths that no accepted request can have",
			paths(policy.Path{Exact: "/a//b"}, policy.Path{Prefix: "/a/../b"}, policy.Path{Exact: "/a;b"}, policy.Path{Exact: "/a%20b"},
				policy.Path{Exact: "/a\\b"}, policy.Path{Exact: "/\x00"}, policy.Path{Exact: "/\xff"}),
			[]string{
				"rules[0].paths[0].exact: can never match, because requests with such a path are refused: empty_segment",
				"rules[0].paths[1].prefix: can never match, because requests with such a path are refused: dot_segment",
				"rules[0].paths[2].exact: can never match, because requests with such a path are refused: path_parameter",
				"rules[0].paths[3].exact: is percent-encoded; write the character itself, as paths are matched after decoding",
				"rules[0].paths[4].exact: can never match, because requests with such a path are refused: backslash",
				"rules[0].paths[5].exact: can never match, because requests with such a path are refused: control_character",
				"rules[0].paths[6].exact: can never match, because requests with such a path are refused: not_utf8",
			}},
		{"a path that is longer than the API admits", paths(policy.Path{Exact: "/" + strings.Repeat("a", 4*512)}), []string{
			"rules[0].paths[0].exact: must be 512 characters long at most",
		}},
		{"patterns with a wildcard that is not a whole segment, or with none",
			paths(policy.Path{Pattern: "/users/*.json"}, policy.Path{Pattern: "/**/a"}, policy.Path{Pattern: "/a/***"}, policy.Path{Pattern: "/users/{id}"},
				policy.Path{Pattern: "/a/**/"}, policy.Path{Pattern: "*"}, policy.Path{Pattern: "/*//a"}, policy.Path{Pattern: "/*/../a"}),
			[]string{
				`rules[0].paths[0].pattern: "*" must be a whole segment, as in /users/*/orders, and "**" the last one`,
				`rules[0].paths[1].pattern: "*" must be a whole segment, as in /users/*/orders, and "**" the last one`,
				`rules[0].paths[2].pattern: "*" must be a whole segment, as in /users/*/orders, and "**" the last one`,
				`rules[0].paths[3].pattern: has no "*", which is what stands for any segment; without one, write exact`,
				`rules[0].paths[4].pattern: "*" must be a whole segment, as in /users/*/orders, and "**" the last one`,
				`rules[0].paths[5].pattern: must start with "/"`,
				"rules[0].paths[6].pattern: can never match, because requests with such a path are refused: empty_segment",
				"rules[0].paths[7].pattern: can never match, because requests with such a path are refused: dot_segment",
			}},
		{"hosts that no normalised one can be", policy.Document{Rules: []policy.Rule{{Hosts: []string{
			"shop.example", "*.example", "Shop.example", "shop.example:80", "shop.example.", "*", "*.", "a.*.b", "*a.b", "", "a..b", "[::1]", "a b",
		}}}}, []string{
			"rules[0].hosts[2]: " + badHost, "rules[0].hosts[3]: " + badHost, "rules[0].hosts[4]: " + badHost, "rules[0].hosts[5]: " + badHost,
			"rules[0].hosts[6]: " + badHost, "rules[0].hosts[7]: " + badHost, "rules[0].hosts[8]: " + badHost, "rules[0].hosts[9]: " + badHost,
			"rules[0].hosts[10]: " + badHost, "rules[0].hosts[11]: " + badHost, "rules[0].hosts[12]: " + badHost,
		}},
		{"scopes that are none", policy.Document{Rules: []policy.Rule{{Scopes: []string{"a:b", "", "a b", `a"b`, `a\b`, "é", strings.Repeat("a", 129)}}}}, []string{
			"rules[0].scopes[1]: " + badScope, "rules[0].scopes[2]: " + badScope, "rules[0].scopes[3]: " + badScope,
			"rules[0].scopes[4]: " + badScope, "rules[0].scopes[5]: " + badScope, "rules[0].scopes[6]: " + badScope,
		}},
		{"a mode that it does not know", policy.Document{Mode: "audit"}, []string{"mode: must be Enforce or Audit"}},
		{"pointers that are none", policy.Document{Rules: []policy.Rule{{Claims: []policy.Requirement{
			{Claim: "/a~2b", AnyOf: []string{"x"}}, {Claim: "/a~", AnyOf: []string{"x"}}, {Claim: strings.Repeat("a", 1025), AnyOf: []string{"x"}},
			{Claim: "~2 is fine in a name", AnyOf: []string{"x"}},
		}}}}, []string{
			`rules[0].claims[0].claim: begins with "/", so it is a JSON Pointer, and in these "~" is written ~0 and a "/" inside a name ~1`,
			`rules[0].claims[1].claim: begins with "/", so it is a JSON Pointer, and in these "~" is written ~0 and a "/" inside a name ~1`,
			`rules[0].claims[2].claim: must be 256 characters long at most`,
		}},
		{"methods that are not in capital letters", policy.Document{Rules: []policy.Rule{{Methods: []string{"GET", "post", "", "-X", "G T", "CONNECT"}}}}, []string{
			"rules[0].methods[1]: must be an HTTP method in capital letters, such as GET, and not CONNECT",
			"rules[0].methods[2]: must be an HTTP method in capital letters, such as GET, and not CONNECT",
			"rules[0].methods[3]: must be an HTTP method in capital letters, such as GET, and not CONNECT",
			"rules[0].methods[4]: must be an HTTP method in capital letters, such as GET, and not CONNECT",
			"rules[0].methods[5]: must be an HTTP method in capital letters, such as GET, and not CONNECT",
		}},
		{"access that it does not know", policy.Document{Rules: []policy.Rule{{Access: "anonymous"}}, Default: "Allow"}, []string{
			"rules[0].access: must be Anonymous, Authenticated or Deny",
			"default: must be Deny or Authenticated",
		}},
		{"anonymous access by default", policy.Document{Default: policy.AccessAnonymous}, []string{"default: must be Deny or Authenticated"}},
		{"claims that nobody would look at", policy.Document{Rules: []policy.Rule{
			{Access: policy.AccessAnonymous, Claims: []policy.Requirement{{Claim: "a", AnyOf: []string{"b"}}}},
			{Access: policy.AccessDeny, Claims: []policy.Requirement{{Claim: "a", AnyOf: []string{"b"}}}, Scopes: []string{"a"}, Expression: "true"},
		}}, []string{
			"rules[0].claims: goes with access: Authenticated only",
			"rules[1].claims: goes with access: Authenticated only",
			"rules[1].scopes: goes with access: Authenticated only",
			"rules[1].expression: goes with access: Authenticated only",
		}},
		{"claims without a name or a value", policy.Document{Rules: []policy.Rule{{Claims: []policy.Requirement{{}}}}}, []string{
			"rules[0].claims[0].claim: must name a claim",
			"rules[0].claims[0].anyOf: must list at least one value",
		}},
		{"identity headers with impossible names", headers("X-Ok", "", "X_Auth", "1X", "X-Auth\r\nHost", strings.Repeat("x", 65)), []string{
			`forward.headers[1].name: must start with a letter and hold letters, digits and "-" only, 64 at most`,
			`forward.headers[2].name: must start with a letter and hold letters, digits and "-" only, 64 at most`,
			`forward.headers[3].name: must start with a letter and hold letters, digits and "-" only, 64 at most`,
			`forward.headers[4].name: must start with a letter and hold letters, digits and "-" only, 64 at most`,
			`forward.headers[5].name: must start with a letter and hold letters, digits and "-" only, 64 at most`,
		}},
		{"identity headers that steer the request", headers("host", "X-Forwarded-User", "sec-fetch-site", "TE", "x-http-method-override", "Authorization"), []string{
			"forward.headers[0].name: is a header that HTTP, proxies or browsers give a meaning of their own; choose another",
			"forward.headers[1].name: is a header that HTTP, proxies or browsers give a meaning of their own; choose another",
			"forward.headers[2].name: is a header that HTTP, proxies or browsers give a meaning of their own; choose another",
			"forward.headers[3].name: is a header that HTTP, proxies or browsers give a meaning of their own; choose another",
			"forward.headers[4].name: is a header that HTTP, proxies or browsers give a meaning of their own; choose another",
			"forward.headers[5].name: is a header that HTTP, proxies or browsers give a meaning of their own; choose another",
		}},
		{"one identity header twice", headers("X-Roles", "x-roles"), []string{"forward.headers[1].name: is there twice; case makes no difference"}},
		{"an identity header without a claim", policy.Document{Headers: []policy.Header{{Name: "X-A"}}}, []string{
			"forward.headers[0].claim: must name a claim",
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			program, err := policy.Compile(tc.in)
			if program != nil {
				t.Error("got a program beside the error")
			}
			var errs policy.Errors
			if !errors.As(err, &errs) {
				t.Fatalf("got error %v of type %T, want policy.Errors", err, err)
			}
			var got []string
			for _, one := range errs {
				got = append(got, one.Error())
			}
			if diff := cmp.Diff(got, tc.want); diff != "" {
				t.Errorf("got errors (-), want (+):\n%s", diff)
			}
			if diff := cmp.Diff(err.Error(), strings.Join(tc.want, "; ")); diff != "" {
				t.Errorf("got error (-), want (+):\n%s", diff)
			}
		})
	}
}

func TestCompileKeepsNothingOfTheDocument(t *testing.T) {
	document := policy.Document{
		Rules: []policy.Rule{{
			Paths:   []policy.Path{{Prefix: "/a"}},
			Methods: []string{"GET"},
			Claims:  []policy.Requirement{{Claim: "roles", AnyOf: []string{"admin"}}},
		}},
		Headers: []policy.Header{{Name: "X-Roles", Claim: "roles"}},
	}
	program := compile(t, document)

	document.Rules[0].Paths[0].Prefix = "/b"
	document.Rules[0].Methods[0] = "POST"
	document.Rules[0].Claims[0] = policy.Requirement{Claim: "sub", AnyOf: []string{"eve"}}
	document.Headers[0] = policy.Header{Name: "X-Other", Claim: "sub"}
	program.Headers()[0].Name = "X-Other"

	got := decide(program, policy.Request{Method: "GET", Path: "/a"}, map[string]any{"roles": "admin"})
	if want := (policy.Decision{Allow: true, Reason: policy.ReasonAuthenticated}); got != want {
		t.Errorf("got decision %+v after the document was changed, want %+v", got, want)
	}
	if got, want := program.Headers()[0].Name, "X-Roles"; got != want {
		t.Errorf("got header %s after the document was changed, want %s", got, want)
	}
}

func compile(t testing.TB, d policy.Document) *policy.Program {
	t.Helper()
	program, err := policy.Compile(d)
	if err != nil {
		t.Fatalf("compile: %v", err)
	}
	return program
}

// FuzzCompile holds that whatever is written down either has faults with paths, or makes a program that decides, and warnings.
func FuzzCompile(f *testing.F) {
	for _, seed := range []string{
		`{"rules":[{"hosts":["*.a.example"],"paths":[{"pattern":"/users/*/**"},{"exact":"/"},{"prefix":"/A"}],"methods":["GET"],"scopes":["a:b"],"claims":[{"claim":"/a/0","anyOf":["x"]}],"expression":"claims.a == 1 || request.path == '/'"}],"default":"Deny","mode":"Audit","headers":[{"name":"X-A","claim":"/b"}]}`,
		`{"rules":[{"access":"Deny"},{"access":"Anonymous","paths":[{"pattern":"/*"}]}]}`,
		`{"rules":[{"expression":"claims.a.all(x, x in request.query)"}]}`,
		`{"rules":[{"expression":"1 +"},{"paths":[{}]},{"hosts":["*"]},{"claims":[{"claim":"/~"}]}],"mode":"x"}`,
		`{}`,
	} {
		f.Add(seed, "GET", "b.a.example", "/users/7/a")
	}
	f.Fuzz(func(t *testing.T, text, method, host, path string) {
		var document policy.Document
		if json.Unmarshal([]byte(text), &document) != nil {
			return
		}
		program, err := policy.Compile(document)
		if err != nil {
			var errs policy.Errors
			if !errors.As(err, &errs) || program != nil {
				t.Fatalf("got program %v and error %v of type %T, want policy.Errors alone", program, err, err)
			}
			for _, one := range errs {
				if one.Path == "" || one.Problem == "" {
					t.Errorf("got error %+v, want a path and a problem", one)
				}
			}
			return
		}
		for _, warning := range policy.Warnings(document) {
			if warning.Path == "" || warning.Message == "" {
				t.Errorf("got warning %+v, want a path and a message", warning)
			}
		}
		request := policy.Request{Method: method, Host: host, Path: path, Query: path}
		for _, claims := range []map[string]any{nil, {}, {"a": []any{"x"}, "scope": "a:b"}} {
			decision := decide(program, request, claims)
			if decision.Reason == "" || decision.Rule < policy.NoRule || decision.Rule >= len(document.Rules) {
				t.Errorf("got %+v, want a reason and a rule that there is", decision)
			}
			if decision.Allow && claims == nil && decision.Reason != policy.ReasonAnonymous {
				t.Errorf("got %+v without a token, want it refused", decision)
			}
		}
	})
}

// decide judges by the claims of a token, nil for none.
func decide(program *policy.Program, request policy.Request, claims map[string]any) policy.Decision {
	return program.Decide(request, program.Read(claims))
}
