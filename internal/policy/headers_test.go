package policy_test

import (
	"encoding/json"
	"net/http"
	"net/textproto"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/latchkey-dev/latchkey/internal/policy"
)

func TestStrips(t *testing.T) {
	byDefault := policy.Document{}
	roles := policy.Document{Headers: []policy.Header{{Name: "X-Roles", Claim: "roles"}}}
	for _, tc := range []struct {
		name     string
		document policy.Document
		header   string
		want     bool
	}{
		{"a configured header", roles, "X-Roles", true},
		{"a configured header in another case", roles, "x-rOLES", true},
		{"a configured header with an underscore", roles, "X_Roles", true},
		{"a configured header as net/http writes an underscore", roles, http.CanonicalHeaderKey("x_roles"), true},
		{"a configured header with a dot, which some servers make an underscore of", roles, "X.Roles", true},
		{"a longer header", roles, "X-Roles-2", false},
		{"a shorter header", roles, "X-Role", false},
		{"a header with a letter more than the longest", byDefault, "X-HTTP-Method-Overrides", false},
		{"the default subject header", byDefault, "X-Auth-Subject", true},
		{"the default issuer header", byDefault, "x_auth_issuer", true},
		{"a default header, when others are configured", roles, "X-Auth-Subject", false},
		{"a header that replaces the method", byDefault, "X-Http-Method-Override", true},
		{"a header that replaces the path", roles, "X_Original_Url", true},
		{"a header by which gunicorn cuts a prefix off the path", byDefault, "SCRIPT_NAME", true},
		{"its name in a common snippet for Flask", roles, "X-Script-Name", true},
		{"a header that some servers take for the path", roles, "PATH_INFO", true},
		{"a header that is nobody's business", byDefault, "Accept", false},
		{"no header", byDefault, "", false},
		{"a very long header", byDefault, strings.Repeat("x", 1<<16), false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := compile(t, tc.document).Strips(tc.header); got != tc.want {
				t.Errorf("got %t for %.40q, want %t", got, tc.header, tc.want)
			}
		})
	}
}

// TestStripsWhatAnAppCouldTakeForAnIdentityHeader spells names as clients may, and reads them as CGI does.
func TestStripsWhatAnAppCouldTakeForAnIdentityHeader(t *testing.T) {
	cgi := func(name string) string {
		return strings.Map(func(r rune) rune {
			if strings.ContainsRune("!#$%&'*+-.^_`|~", r) {
				return '_'
			}
			return r
		}, strings.ToUpper(name))
	}
	rapid.Check(t, func(t *rapid.T) {
		configured := rapid.StringMatching(`[A-Za-z][A-Za-z0-9-]{0,10}`).Draw(t, "configured")
		program, err := policy.Compile(policy.Document{Headers: []policy.Header{{Name: configured, Claim: "sub"}}})
		if err != nil {
			t.Skip("a reserved name")
		}
		spelling := []byte(configured)
		for i, c := range spelling {
			switch {
			case c == '-':
				spelling[i] = rapid.SampledFrom([]byte("-_.~!")).Draw(t, "separator")
			case rapid.Bool().Draw(t, "other case"):
				spelling[i] = strings.ToUpper(string(c))[0]
			}
		}
		for _, name := range []string{configured, string(spelling), textproto.CanonicalMIMEHeaderKey(string(spelling))} {
			if !program.Strips(name) {
				t.Fatalf("got no for %q, want it stripped: an app may take it for %q", name, configured)
			}
		}
		other := rapid.StringMatching("[A-Za-z0-9_.-]{1,3}").Draw(t, "other")
		if got, want := program.Strips(other), cgi(other) == cgi(configured); got != want {
			t.Fatalf("got %t for %q beside %q, want %t", got, other, configured, want)
		}
	})
}

func TestStripsAllocatesNothing(t *testing.T) {
	program := compile(t, policy.Document{})
	for _, name := range []string{"X-Auth-Subject", "x_auth_subject", "Accept", "X-Http-Method-Override", strings.Repeat("x", 1000)} {
		if got := testing.AllocsPerRun(100, func() { _ = program.Strips(name) }); got != 0 {
			t.Errorf("got %v allocations for %.40s, want 0", got, name)
		}
	}
}

func TestIdentify(t *testing.T) {
	for _, tc := range []struct {
		name  string
		claim any
		want  string // "" when no header is to be set
	}{
		{"sends a string", "alice", "alice"},
		{"sends a string with commas, spaces and letters beyond ASCII", "Doe, Jané", "Doe, Jané"},
		{"sends a number as it was written", json.Number("12345678901234567890"), "12345678901234567890"},
		{"sends true", true, "true"},
		{"sends false", false, "false"},
		{"joins a list", []any{"admin", json.Number("7"), true}, "admin,7,true"},
		{"sends a list of one", []any{"admin"}, "admin"},
		{"is silent about a claim that is not there", nil, ""},
		{"is silent about an empty string", "", ""},
		{"is silent about an empty list", []any{}, ""},
		{"is silent about an object", map[string]any{"a": "b"}, ""},
		{"is silent about a list in a list", []any{"viewer", []any{"admin"}}, ""},
		{"is silent about null in a list", []any{"viewer", nil}, ""},
		{"does not let one element become two", []any{"viewer,admin"}, ""},
		{"does not let an empty element become none", []any{"viewer", ""}, ""},
		{"does not let white space vanish", " admin", ""},
		{"does not let white space vanish in a list", []any{"viewer", "admin\t"}, ""},
		{"does not let a value end the header", "alice\r\nX-Auth-Roles: admin", ""},
		{"does not let a value hold NUL", "alice\x00", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			program := compile(t, policy.Document{Headers: []policy.Header{{Name: "X-Who", Claim: "who"}}})
			claims := map[string]any{"sub": "somebody else"}
			if tc.claim != nil {
				claims["who"] = tc.claim
			}
			if diff := cmp.Diff(program.Identify(claims), []string{tc.want}); diff != "" {
				t.Errorf("got values of headers (-), want (+):\n%s", diff)
			}
		})
	}
}

func TestIdentifySaysSubjectAndIssuerByDefault(t *testing.T) {
	program := compile(t, policy.Document{})
	values := program.Identify(map[string]any{"sub": "alice", "iss": "https://issuer.example", "email": "a@example.com"})
	var got [][2]string
	for i, header := range program.Headers() {
		got = append(got, [2]string{header.Name, values[i]})
	}
	want := [][2]string{{"X-Auth-Subject", "alice"}, {"X-Auth-Issuer", "https://issuer.example"}}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("got headers (-), want (+):\n%s", diff)
	}
}

func BenchmarkStrips(b *testing.B) {
	program := compile(b, policy.Document{})
	b.ReportAllocs()
	for b.Loop() {
		if program.Strips("Accept-Language") || !program.Strips("X_auth_subject") {
			b.Fatal("got the wrong answer")
		}
	}
}
