package policy_test

import (
	"encoding/json"
	"testing"

	"github.com/latchkey-dev/latchkey/internal/policy"
)

func TestScopes(t *testing.T) {
	program := compile(t, policy.Document{Rules: []policy.Rule{{Scopes: []string{"orders:read", "orders:write"}}}})
	for _, tc := range []struct {
		name   string
		claims map[string]any
		want   bool
	}{
		{"a string with both", map[string]any{"scope": "openid orders:write orders:read"}, true},
		{"a string in scp", map[string]any{"scp": "orders:read orders:write"}, true},
		{"a list in scp", map[string]any{"scp": []any{"orders:read", "orders:write"}}, true},
		{"a list in scope", map[string]any{"scope": []any{"orders:read", "orders:write"}}, true},
		{"one in each claim", map[string]any{"scope": "orders:read", "scp": []any{"orders:write"}}, true},
		{"one alone", map[string]any{"scope": "orders:read"}, false},
		{"none", map[string]any{}, false},
		{"the beginning of one", map[string]any{"scope": "orders:read orders:writ"}, false},
		{"more than one", map[string]any{"scope": "orders:read orders:writer"}, false},
		{"another case", map[string]any{"scope": "orders:read Orders:Write"}, false},
		{"other white space", map[string]any{"scope": "orders:read\torders:write"}, false},
		{"commas", map[string]any{"scope": "orders:read,orders:write"}, false},
		{"both in one element", map[string]any{"scp": []any{"orders:read orders:write"}}, false},
		{"a number among them", map[string]any{"scp": []any{json.Number("1"), "orders:read", "orders:write"}}, true},
		{"a number", map[string]any{"scope": json.Number("1")}, false},
		{"an object", map[string]any{"scope": map[string]any{"orders:read": true, "orders:write": true}}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := decide(program, policy.Request{Method: "GET", Path: "/"}, tc.claims)
			want := policy.Decision{Allow: tc.want, Reason: policy.ReasonAuthenticated, Rule: 0}
			if !tc.want {
				want.Reason = policy.ReasonInsufficientScope
			}
			if got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
	if got, want := program.RequiredScope(0), "orders:read orders:write"; got != want {
		t.Errorf("got %q required by rule 0, want %q", got, want)
	}
	if got := program.RequiredScope(policy.NoRule) + program.RequiredScope(1); got != "" {
		t.Errorf("got %q required by rules that there are not, want none", got)
	}
}
