package refreshtoken_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/latchkey-dev/latchkey/internal/issuer/refreshtoken"
	"github.com/latchkey-dev/latchkey/internal/issuer/store"
)

// fixed makes what should be random the same each time.
func fixed(b byte) (id store.SessionID, secret store.Secret) {
	for i := range id {
		id[i] = b + byte(i)
	}
	for i := range secret {
		secret[i] = b ^ byte(i)
	}
	return id, secret
}

// Tokens are in browsers: this form must be understood for as long as version 1 is. The token was made by another implementation (Python's
// hmac), from what the package comment says.
func TestTheFormIsStable(t *testing.T) {
	id, secret := fixed(7)
	const want = "AQcICQoLDA0ODxAREhMUFRYAAAAAAAAAKuQvWi6cpWh-rlsfYrR5zXhb6TUhyRBq8j7WWho2C5J6"
	if got := refreshtoken.Make(id, secret, 42); got != want {
		t.Errorf("token: got %s, want %s", got, want)
	}
}

func TestWhatWasMadeIsRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id, secret := fixed(rapid.Byte().Draw(t, "seed"))
		_, otherSecret := fixed(rapid.Byte().Draw(t, "other seed"))
		counter := rapid.Int64Range(0, math.MaxInt64).Draw(t, "counter")
		token := refreshtoken.Make(id, secret, counter)
		if got, want := len(token), refreshtoken.Length; got != want || got >= 100 {
			t.Errorf("length: got %d, want %d and under 100", got, want)
		}
		claimed, err := refreshtoken.Parse(token)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := claimed.Session(), id; got != want {
			t.Errorf("session: got %v, want %v", got, want)
		}
		if got, want := claimed.Counter(), counter; got != want {
			t.Errorf("counter: got %v, want %v", got, want)
		}
		if !claimed.Authentic(secret) {
			t.Error("not authentic")
		}
		if got, want := claimed.Authentic(otherSecret), secret == otherSecret; got != want {
			t.Errorf("authentic by another secret: got %v, want %v", got, want)
		}
	})
}

func TestEveryBitCounts(t *testing.T) {
	id, secret := fixed(1)
	token := refreshtoken.Make(id, secret, 3)
	for i := range token {
		for _, c := range "ABab01-_" {
			if byte(c) == token[i] {
				continue
			}
			changed := token[:i] + string(c) + token[i+1:]
			if claimed, err := refreshtoken.Parse(changed); err == nil && claimed.Authentic(secret) {
				t.Errorf("authentic although character %d was changed: %s", i, changed)
			}
		}
	}
}

func TestParseRefuses(t *testing.T) {
	id, secret := fixed(1)
	token := refreshtoken.Make(id, secret, 3)
	for _, tc := range []struct{ name, token string }{
		{"nothing", ""},
		{"a token cut short", token[:len(token)-1]},
		{"a token with something behind", token + "A"},
		{"padding", token[:len(token)-1] + "="},
		{"a line end inside", token[:10] + "\n" + token[11:]},
		{"the standard alphabet", token[:10] + "+/" + token[12:]},
		{"another version", "Ag" + token[2:]},
		{"a counter that is negative", refreshtoken.Make(id, secret, -1)},
		{"a megabyte", strings.Repeat("A", 1<<20)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := refreshtoken.Parse(tc.token); err == nil {
				t.Error("accepted")
			}
		})
	}
}

func TestATokenCannotBePrinted(t *testing.T) {
	id, secret := fixed(1)
	claimed, err := refreshtoken.Parse(refreshtoken.Make(id, secret, 3))
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%x"} {
		if got, want := fmt.Sprintf(verb, claimed), "[redacted]"; got != want {
			t.Errorf("%s: got %s, want %s", verb, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	id, secret := fixed(7)
	f.Add(refreshtoken.Make(id, secret, 1))
	f.Add(refreshtoken.Make(id, secret, math.MaxInt64))
	f.Fuzz(func(t *testing.T, text string) {
		claimed, err := refreshtoken.Parse(text)
		if err != nil {
			return
		}
		if claimed.Counter() < 0 {
			t.Errorf("negative counter in %q", text)
		}
		if claimed.Authentic(secret) && refreshtoken.Make(claimed.Session(), secret, claimed.Counter()) != text {
			t.Errorf("a second spelling: %q", text)
		}
	})
}

func BenchmarkParseAndCheck(b *testing.B) {
	id, secret := fixed(7)
	token := refreshtoken.Make(id, secret, 1)
	b.ReportAllocs()
	for b.Loop() {
		claimed, err := refreshtoken.Parse(token)
		if err != nil || !claimed.Authentic(secret) {
			b.Fatal("not authentic")
		}
	}
}
