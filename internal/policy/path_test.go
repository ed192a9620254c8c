package policy_test

import (
	"errors"
	"net/url"
	"path"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/latchkey-dev/latchkey/internal/policy"
)

func TestNormalize(t *testing.T) {
	for _, tc := range []struct {
		name, in, want string
	}{
		{"leaves a plain path alone", "/orders/42", "/orders/42"},
		{"leaves the root alone", "/", "/"},
		{"keeps a slash at the end", "/orders/", "/orders/"},
		{"keeps what may stand unencoded", "/-._~!$&'()*+,=:@[]", "/-._~!$&'()*+,=:@[]"},
		{"keeps dots that are not a segment", "/.well-known/...a/b..", "/.well-known/...a/b.."},
		{"does not take a plus for a space", "/a+b", "/a+b"},
		{"decodes", "/caf%C3%A9/%61%20%3F%23", "/café/a ?#"},
		{"decodes digits of either case", "/%e2%82%AC", "/€"},
		{"decodes a percent sign that encodes nothing", "/100%25", "/100%"},
		{"decodes a percent sign before half an escape", "/%25a/%25zz", "/%a/%zz"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := policy.Normalize(tc.in)
			if err != nil {
				t.Fatalf("got error %v, want %q", err, tc.want)
			}
			if got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestNormalizeRefuses(t *testing.T) {
	for _, tc := range []struct {
		name string
		in   string
		want policy.PathFault
	}{
		{"no path", "", policy.PathNotAbsolute},
		{"the path of OPTIONS *", "*", policy.PathNotAbsolute},
		{"a relative path", "admin", policy.PathNotAbsolute},
		{"a whole URL", "http://host/admin", policy.PathNotAbsolute},
		{"an encoded first slash", "%2Fadmin", policy.PathEncodedSlash},
		{"an encoded slash", "/a%2fb", policy.PathEncodedSlash},
		{"a way up behind an encoded slash", "/a/..%2Fadmin", policy.PathEncodedSlash},
		{"a backslash", `/a\admin`, policy.PathBackslash},
		{"an encoded backslash", "/a/..%5cadmin", policy.PathBackslash},
		{"NUL", "/admin%00.css", policy.PathControl},
		{"a line end", "/a%0d%0aX-Auth-Subject:%20eve", policy.PathControl},
		{"a tabulator", "/a%09", policy.PathControl},
		{"DEL", "/a%7F", policy.PathControl},
		{"a parameter", "/admin;.css", policy.PathParameter},
		{"an encoded parameter", "/admin%3b.css", policy.PathParameter},
		{"a way up behind a parameter", "/a/..;/admin", policy.PathParameter},
		{"a way up", "/a/../admin", policy.PathDotSegment},
		{"a way up at the end", "/a/..", policy.PathDotSegment},
		{"a way up from the root", "/..", policy.PathDotSegment},
		{"an encoded way up", "/a/%2e%2E/admin", policy.PathDotSegment},
		{"a half encoded way up", "/a/.%2e/admin", policy.PathDotSegment},
		{"a segment that stays", "/./admin", policy.PathDotSegment},
		{"a segment that stays at the end", "/admin/.", policy.PathDotSegment},
		{"two slashes", "/a//admin", policy.PathEmptySegment},
		{"two slashes at the front", "//admin", policy.PathEmptySegment},
		{"two slashes at the end", "/admin//", policy.PathEmptySegment},
		{"a byte that is no UTF-8", "/%ff", policy.PathNotUTF8},
		{"an overlong slash", "/a%c0%afadmin", policy.PathNotUTF8},
		{"an overlong dot", "/a/%c0%ae%c0%ae/admin", policy.PathNotUTF8},
		{"a surrogate", "/%ed%a0%80", policy.PathNotUTF8},
		{"half a character", "/%e2%82", policy.PathNotUTF8},
		{"double encoding", "/%2561dmin", policy.PathDoubleEncoding},
		{"a doubly encoded slash", "/a%252fadmin", policy.PathDoubleEncoding},
		{"double encoding in pieces", "/%25%36%31dmin", policy.PathDoubleEncoding},
		{"an escape that ends early", "/a%2", policy.PathBadEscape},
		{"an escape without digits", "/a%", policy.PathBadEscape},
		{"an escape of a kind that some servers know", "/%u002e%u002e/admin", policy.PathBadEscape},
		{"an escape with a sign", "/%+2", policy.PathBadEscape},
		{"a space", "/a b", policy.PathRawCharacter},
		{"a query", "/a?b", policy.PathRawCharacter},
		{"a fragment", "/a#b", policy.PathRawCharacter},
		{"a control character", "/a\x00", policy.PathRawCharacter},
		{"bytes beyond ASCII", "/café", policy.PathRawCharacter},
		{"a quotation mark", `/"`, policy.PathRawCharacter},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := policy.Normalize(tc.in)
			if got != "" {
				t.Errorf("got %q beside the refusal", got)
			}
			var fault policy.PathFault
			if !errors.As(err, &fault) || fault != tc.want {
				t.Errorf("got error %v, want %v", err, tc.want)
			}
		})
	}
}

// FuzzNormalize holds that a path which is not refused has one reading: whoever decodes it, resolves dots, merges slashes or decodes again
// arrives where Normalize did.
func FuzzNormalize(f *testing.F) {
	for _, seed := range []string{"/", "/a/b/", "/caf%C3%A9", "/100%25", "/a//b", "/..%2f", "/%252e", "/%c0%ae", "/a;b", "/[]", "*", "/%25%32%65"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, escaped string) {
		got, err := policy.Normalize(escaped)
		if err != nil {
			var fault policy.PathFault
			if got != "" || !errors.As(err, &fault) || fault == "" {
				t.Fatalf("got %q and error %v of type %T, want a PathFault alone", got, err, err)
			}
			return
		}

		if want, wantErr := url.PathUnescape(escaped); wantErr != nil || got != want {
			t.Errorf("got %q, want %q as net/url decodes it (error %v)", got, want, wantErr)
		}
		if want := path.Clean(got); got != want && got != want+"/" {
			t.Errorf("got %q, want it as path.Clean leaves it: %q", got, want)
		}
		if again, againErr := url.PathUnescape(got); againErr == nil && again != got {
			t.Errorf("got %q, which decodes again to %q", got, again)
		}
		if !strings.HasPrefix(got, "/") || strings.ContainsAny(got, "\x00\r\n\\;") || !utf8.ValidString(got) {
			t.Errorf("got %q, want an absolute path in UTF-8 without control characters, backslash and parameters", got)
		}
		if strings.Count(got, "/") != strings.Count(escaped, "/") {
			t.Errorf("got %q, want as many segments as %q", got, escaped)
		}

		// Servers that parse the request target must see it too, and what they write out must come back the same.
		parsed, err := url.ParseRequestURI(escaped)
		if err != nil {
			t.Fatalf("net/url refuses %q: %v", escaped, err)
		}
		if parsed.Path != got {
			t.Errorf("got %q, want %q as net/url parses it", got, parsed.Path)
		}
		if again, err := policy.Normalize((&url.URL{Path: got}).EscapedPath()); err != nil || again != got {
			t.Errorf("got %q and error %v after writing and reading it once more, want %q", again, err, got)
		}
	})
}

func TestNormalizeAllocatesNothingForPlainPaths(t *testing.T) {
	if got := testing.AllocsPerRun(100, func() { _, _ = policy.Normalize("/orders/42/lines") }); got != 0 {
		t.Errorf("got %v allocations, want 0", got)
	}
}

func BenchmarkNormalize(b *testing.B) {
	for name, in := range map[string]string{"plain": "/tenants/acme/orders/42/lines", "encoded": "/tenants/caf%C3%A9/orders/42/lines"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := policy.Normalize(in); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
