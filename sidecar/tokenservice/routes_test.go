package tokenservice_test

import (
	"strings"
	"testing"

	"github.com/latchkey-dev/latchkey/sidecar/tokenservice"
)

func FuzzCookiesArePartedWithoutLossOrLeak(f *testing.F) {
	for _, seed := range []string{
		"", "a=1", "a=1; b=2", "__Secure-latchkey-refresh=x", "a=1;__SECURE-LATCHKEY-refresh=x ;; b", `a="x; __Secure-latchkey-refresh=y"`,
		"\t__Secure-latchkey-refresh=x", "__Secure-latchkey-", "; ;",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		own, others := tokenservice.KeepCookies(value, true), tokenservice.KeepCookies(value, false)
		for pair := range strings.SplitSeq(others, ";") {
			if strings.HasPrefix(strings.ToLower(strings.TrimLeft(pair, " \t")), strings.ToLower(tokenservice.CookiePrefix)) {
				t.Errorf("got %q for the app out of %q, want none of the token service's", others, value)
			}
		}
		if again := tokenservice.KeepCookies(others, false); again != others {
			t.Errorf("got %q out of %q, want nothing left to take out", again, others)
		}
		count := func(s string) (pairs int) {
			for pair := range strings.SplitSeq(s, ";") {
				if strings.Trim(pair, " \t") != "" {
					pairs++
				}
			}
			return pairs
		}
		if got, want := count(own)+count(others), count(value); got != want {
			t.Errorf("got %d cookies out of %q, want %d", got, value, want)
		}
	})
}
