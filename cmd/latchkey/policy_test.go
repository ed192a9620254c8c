package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const tenants = `# Others are passed over.
kind: ConfigMap
apiVersion: v1
---
apiVersion: auth.latchkey.dev/v1alpha1
kind: AuthPolicy
metadata: {name: tenants}
spec:
  selector: {}
  ports: [8080]
  issuers:
  - url: https://idp.example
    audiences: [a]
    keys: {inline: "{}"}
    claimValidationRules: [{expression: "!has(claims.suspended)", message: suspended}]
    claimMappings: [{name: roles, claim: /realm_access/roles}]
  - audiences: [a]
    keys: {tokenIssuerRef: {name: own}}
  rules:
  - hosts: [admin.example]
    claims: [{claim: roles, anyOf: [admin]}]
  - paths: [{pattern: /users/*/**}]
    expression: request.path.startsWith("/users/" + claims.sub + "/") && !("debug" in request.query) && !("x-debug" in request.headers)
  - paths: [{exact: /healthz}]
    access: Anonymous
`

func write(t *testing.T, content string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "policy.yaml")
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestPolicyIsChecked(t *testing.T) {
	audited := strings.Replace(tenants, "  rules:", "  mode: Audit\n  tokenSources: [{query: token}]\n  rules:", 1)
	for _, tc := range []struct {
		name, content string
		code          int
		out           string
	}{
		{"one that is fine", tenants, 0, "tenants: fine\n"},
		{"one with warnings", audited, 0, "tenants: warning: mode: what is refused with 401 or 403 goes on to the app, and is only counted, until this is Enforce (AuditMode)\n" +
			"tenants: warning: tokenSources[0].query: proxies and browsers write URLs down, and so tokens (TokensInURLs)\n"},
		{"two, one of them wrong", strings.Replace(tenants, "/users/*/**", "/users/:id", 1) + "---\n" + strings.Replace(tenants, "claims.sub +", "claims.sub + +", 1), 1,
			`tenants: error: rules[1].paths[0].pattern: has no "*", which is what stands for any segment; without one, write exact` + "\n" +
				"tenants: error: rules[1].expression: 1:50: Syntax error"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			code, out, messages := latchkey(t, "", "policy", "check", "-f", write(t, tc.content))
			if code != tc.code || !strings.HasPrefix(out, tc.out) || messages != "" {
				t.Errorf("got exit code %d and %q (%s), want %d and %q", code, out, messages, tc.code, tc.out)
			}
		})
	}
}

func TestPolicyIsAskedAboutARequest(t *testing.T) {
	file := write(t, tenants)
	const alice = `{"iss": "https://idp.example", "sub": "alice", "realm_access": {"roles": ["admin"]}}`
	for _, tc := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"allows", []string{"--host", "Admin.example:443", "--claims", alice}, 0, "allowed: authenticated, by rules[0]\n"},
		{"allows everybody", []string{"--path", "/healthz"}, 0, "allowed: anonymous, by rules[2]\n"},
		{"evaluates expressions", []string{"--path", "/users/alice/a%20b?page=1", "--header", "X-A: b", "--claims", alice}, 0, "allowed: authenticated, by rules[1]\n"},
		{"shows them the query", []string{"--path", "/users/alice/a?debug", "--claims", alice}, 1, "refused: 403 expression_false, by rules[1]\n"},
		{"shows them headers", []string{"--path", "/users/alice/a", "--header", "X-Debug: 1", "--claims", alice}, 1, "refused: 403 expression_false, by rules[1]\n"},
		{"asks for a token", []string{"--host", "admin.example"}, 1, "refused: 401 token_required, by rules[0]\n"},
		{"maps claims", []string{"--host", "admin.example", "--claims", `{"iss": "https://idp.example", "roles": ["admin"]}`}, 1, "refused: 403 claims_not_met, by rules[0]\n"},
		{"takes any other issuer for the TokenIssuer", []string{"--host", "admin.example", "--claims", `{"iss": "https://own.example", "roles": ["admin"]}`}, 0,
			"allowed: authenticated, by rules[0]\n"},
		{"judges claims", []string{"--host", "admin.example", "--claims", `{"iss": "https://idp.example", "suspended": 1}`}, 1,
			"refused: 401 claim_rule, by rules[0]\nthe token is not valid: claimValidationRules[0]: suspended\n"},
		{"falls to the default", []string{"--claims", alice}, 1, "refused: 403 no_rule, by default\n"},
		{"refuses a method", []string{"--method", "get"}, 1, "refused: 400 method_refused, by default\n"},
		{"refuses a path", []string{"--path", "/a//b"}, 1, "refused: 400 ambiguous_path (ambiguous path: empty_segment)\n"},
		{"refuses a host", []string{"--host", "a,b"}, 1, "refused: 400 ambiguous_host (ambiguous host: bad_character)\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			code, out, messages := latchkey(t, "", append([]string{"policy", "eval", "-f", file}, tc.args...)...)
			if diff := cmp.Diff(out, tc.want); diff != "" || code != tc.code || messages != "" {
				t.Errorf("got exit code %d, want %d; messages %q; got -, want +:\n%s", code, tc.code, messages, diff)
			}
		})
	}
	code, out, _ := latchkey(t, strings.Replace(tenants, "  rules:", "  mode: Audit\n  rules:", 1), "policy", "eval", "-f", "-")
	if want := "refused: 403 no_rule, by default\nmode: Audit lets it pass all the same\n"; code != 0 || out != want {
		t.Errorf("got exit code %d and %q in Audit, want 0 and %q", code, out, want)
	}
}

func TestPolicyCommandsTellWhatTheyCannotDo(t *testing.T) {
	file := write(t, tenants)
	for _, tc := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"no command", nil, 2, "policy: check or eval is required"},
		{"an unknown command", []string{"lint"}, 2, `policy: unknown command "lint"`},
		{"no file", []string{"check"}, 2, "-f is required"},
		{"an argument too many", []string{"eval", "-f", file, "x"}, 2, `policy eval: unexpected argument "x"`},
		{"a header without a colon", []string{"eval", "-f", file, "--header", "x"}, 2, `must be "name: value"`},
		{"a file that is not there", []string{"check", "-f", file + "x"}, 1, "no such file"},
		{"a file without a policy", []string{"check", "-f", write(t, "kind: Pod")}, 1, "holds no AuthPolicy"},
		{"a field that there is not", []string{"check", "-f", write(t, strings.Replace(tenants, "hosts:", "host:", 1))}, 1, `unknown field "host"`},
		{"two policies", []string{"eval", "-f", write(t, tenants+"---\n"+tenants)}, 1, "holds 2 AuthPolicies"},
		{"a policy that does not compile", []string{"eval", "-f", write(t, strings.Replace(tenants, "/users/*/**", "users", 1))}, 1, "the policy would not be accepted: rules[1].paths[0].pattern"},
		{"a path that is none", []string{"eval", "-f", file, "--path", "a"}, 1, "--path must be a path"},
		{"claims that are no object", []string{"eval", "-f", file, "--claims", "[]"}, 1, "--claims: "},
		{"claims of nobody", []string{"eval", "-f", file, "--claims", `{"sub": "a"}`}, 1, "--claims: iss must be the url of one of the policy's issuers"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			code, out, messages := latchkey(t, "", append([]string{"policy"}, tc.args...)...)
			if code != tc.code || out != "" || !strings.Contains(messages, tc.want) {
				t.Errorf("got exit code %d, %q and %q, want %d and %q", code, out, messages, tc.code, tc.want)
			}
		})
	}
	for _, args := range [][]string{{"--help"}, {"check", "--help"}, {"eval", "--help"}} {
		if code, out, _ := latchkey(t, "", append([]string{"policy"}, args...)...); code != 0 || !strings.Contains(out, "-f") {
			t.Errorf("got exit code %d and %q for help, want 0 and the flags", code, out)
		}
	}
}
