package policy_test

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/latchkey-dev/latchkey/internal/policy"
)

// claimOf is what a mapping makes of a claim, and whether the claim's name is taken at all.
func claimOf(name string, claims map[string]any) (value any, taken bool) {
	program, err := policy.CompileClaims(policy.ClaimDocument{Mappings: []policy.ClaimMapping{{Name: "result", Claim: name}}})
	if err != nil {
		return nil, false
	}
	mapped, _ := program.Apply(claims)
	return mapped["result"], true
}

func TestClaimsAreFoundByNameOrPointer(t *testing.T) {
	claims := map[string]any{
		"roles": "top", "a.b": "dotted", "https://example.com/roles": "url", "/": "slash", "a/b": "inner slash", "": "empty", "~": "tilde", "~1": "escape",
		"realm_access": map[string]any{"roles": []any{"admin", "user"}, "": "empty member", "0": "zero"},
		"list":         []any{[]any{"x"}, map[string]any{"k": "v"}},
	}
	for _, tc := range []struct {
		name string
		want any // nil: there is none
	}{
		{"roles", "top"},
		{"a.b", "dotted"},
		{"https://example.com/roles", "url"},
		{"a/b", "inner slash"},
		{"~", "tilde"},
		{"~1", "escape"},
		{"realm_access.roles", nil},
		{"/roles", "top"},
		{"/a.b", "dotted"},
		{"/a~1b", "inner slash"},
		{"/~1", "slash"},
		{"/~0", "tilde"},
		{"/~01", "escape"},
		{"/", "empty"},
		{"/https:~1~1example.com~1roles", "url"},
		{"/realm_access/roles", []any{"admin", "user"}},
		{"/realm_access/roles/1", "user"},
		{"/realm_access/roles/2", nil},
		{"/realm_access/roles/01", nil},
		{"/realm_access/roles/-", nil},
		{"/realm_access/roles/-1", nil},
		{"/realm_access/roles/1e0", nil},
		{"/realm_access/roles/1/x", nil},
		{"/realm_access/roles/99999999999999999999", nil},
		{"/realm_access/", "empty member"},
		{"/realm_access/0", "zero"},
		{"/list/0/0", "x"},
		{"/list/1/k", "v"},
		{"/list/k", nil},
		{"/roles/0", nil},
		{"/missing/roles", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, taken := claimOf(tc.name, claims)
			if diff := cmp.Diff(got, tc.want); diff != "" || !taken {
				t.Errorf("got -, want +:\n%s", diff)
			}
		})
	}
}

// FuzzClaimPointer compares with RFC 6901 read word by word.
func FuzzClaimPointer(f *testing.F) {
	const claims = `{"a":{"b":[1,{"c":"d"}],"":"e","~":"t","x/y":"s"},"0":["z"]}`
	for _, name := range []string{"a", "/a/b/1/c", "/a/", "/a/~0", "/a/x~1y", "/a/~", "/0/0", "/0/00", "/", "//", "/a/b/-", "~2", "/~2", ""} {
		f.Add(name, claims)
	}
	f.Fuzz(func(t *testing.T, name, text string) {
		var claims map[string]any
		if json.Unmarshal([]byte(text), &claims) != nil {
			return
		}
		got, taken := claimOf(name, claims)
		want, legal := resolve(name, claims)
		if taken != legal {
			t.Fatalf("got %q taken %v, want %v", name, taken, legal)
		}
		if diff := cmp.Diff(got, want); diff != "" {
			t.Errorf("%q: got -, want +:\n%s", name, diff)
		}
	})
}

func resolve(name string, claims map[string]any) (value any, legal bool) {
	if name == "" || len(name) > 1024 {
		return nil, false
	}
	if !strings.HasPrefix(name, "/") {
		return claims[name], true
	}
	if rest := strings.NewReplacer("~0", "", "~1", "").Replace(name); strings.Contains(rest, "~") {
		return nil, false
	}
	value = claims
	for _, token := range strings.Split(name, "/")[1:] {
		token = strings.ReplaceAll(strings.ReplaceAll(token, "~1", "/"), "~0", "~")
		switch in := value.(type) {
		case map[string]any:
			value = in[token]
		case []any:
			index, err := strconv.Atoi(token)
			if err != nil || index < 0 || index >= len(in) || strconv.Itoa(index) != token {
				return nil, true
			}
			value = in[index]
		default:
			return nil, true
		}
	}
	return value, true
}
