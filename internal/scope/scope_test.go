package scope_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/latchkey-dev/latchkey/internal/scope"
)

func TestParse(t *testing.T) {
	for _, tc := range []struct {
		name, in string
		want     []string
		refused  bool
	}{
		{name: "none", in: ""},
		{name: "one", in: "orders:read", want: []string{"orders:read"}},
		{name: "several, in their order", in: "b a https://shop.example/!#[]~", want: []string{"b", "a", "https://shop.example/!#[]~"}},
		{name: "one twice", in: "a b a", want: []string{"a", "b"}},
		{name: "as long as may be", in: strings.Repeat("x", 128), want: []string{strings.Repeat("x", 128)}},
		{name: "too long", in: strings.Repeat("x", 129), refused: true},
		{name: "two spaces", in: "a  b", refused: true},
		{name: "a space before", in: " a", refused: true},
		{name: "a space behind", in: "a ", refused: true},
		{name: "another white space", in: "a\tb", refused: true},
		{name: "a quotation mark", in: `a"b`, refused: true},
		{name: "a backslash", in: `a\b`, refused: true},
		{name: "letters beyond ASCII", in: "größe", refused: true},
		{name: "a control character", in: "a\x7f", refused: true},
		{name: "no text", in: "\xff", refused: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := scope.Parse(tc.in)
			if (err != nil) != tc.refused {
				t.Fatalf("got %v, want refused: %v", err, tc.refused)
			}
			if diff := cmp.Diff(got, tc.want); diff != "" {
				t.Errorf("scopes (-got +want):\n%s", diff)
			}
		})
	}
}

func FuzzWhatIsReadIsWritten(f *testing.F) {
	f.Add("orders:read orders:write")
	f.Add("a  b")
	f.Add("größe")
	f.Fuzz(func(t *testing.T, text string) {
		list, err := scope.Parse(text)
		if err != nil {
			return
		}
		if again, err := scope.Parse(scope.Format(list)); err != nil || !slices.Equal(again, list) {
			t.Errorf("%q: got %q, then %q (%v)", text, list, again, err)
		}
	})
}
