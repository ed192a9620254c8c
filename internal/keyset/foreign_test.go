package keyset_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/latchkey-dev/latchkey/internal/keyset"
)

func TestParseForeignTakesOutWhatIsWrong(t *testing.T) {
	okp := okpJWK()
	for _, tc := range []struct {
		name             string
		keys             []object
		algorithms       []string
		ids              []string // what is left, with the algorithm
		refused, ignored []string
	}{
		{
			name: "takes a set in which nothing is wrong", keys: []object{ecJWK(), rsaJWK()},
			ids: []string{"e ES256", "r RS256"},
		},
		{
			name: "takes out a private key, and says so", keys: []object{ecJWK(), with(rsaJWK(), "d", "AQAB")},
			ids: []string{"e ES256"}, refused: []string{"keys[1].d: belongs to a private key, which has no place in a key set; treat it as leaked"},
		},
		{
			name: "takes out a private key that nobody would use", keys: []object{ecJWK(), with(rsaJWK(), "use", "enc", "d", "AQAB")},
			ids: []string{"e ES256"}, refused: []string{"keys[1].d: belongs to a private key, which has no place in a key set; treat it as leaked"},
		},
		{
			name: "takes out a shared secret", keys: []object{ecJWK(), octJWK()},
			ids: []string{"e ES256"}, refused: []string{"keys[1].kty: is a shared secret, which has no place in a public key set; treat it as leaked"},
		},
		{
			name: "takes out weak keys", keys: []object{with(rsaJWK(), "e", "Aw"), ecJWK(), with(rsaJWK(), "n", "AQAB")},
			ids: []string{"e ES256"},
			refused: []string{
				"keys[0].e: is 3; an odd number from 65537 to 2147483647 is wanted", "keys[2].n: is 17 bits long; an RSA key needs at least 2048",
			},
		},
		{
			name: "ignores what is not for signatures", keys: []object{with(rsaJWK(), "use", "enc", "alg", "RSA-OAEP"), ecJWK(), {"kty": "AKP"}},
			ids: []string{"e ES256"}, ignored: []string{`keys[0].use: is "enc", not sig`, `keys[2].kty: "AKP" is a type of key that we do not know`},
		},
		{
			name: "takes out all keys of one kid", keys: []object{ecJWK(), okp, with(rsaJWK(), "kid", "e")},
			ids: []string{"o EdDSA"}, refused: []string{`keys[0].kid: "e" is another key's too`, `keys[2].kid: "e" is another key's too`},
		},
		{
			name: "takes a key once that is there twice", keys: []object{ecJWK(), with(ecJWK(), "use", "sig"), okp},
			ids: []string{"e ES256", "o EdDSA"},
		},
		{
			name: "takes out keys without a kid where there are several", keys: []object{ecJWK(), with(rsaJWK(), "kid", nil)},
			ids: []string{"e ES256"}, refused: []string{"keys[1].kid: is missing: with several keys, tokens name theirs by it"},
		},
		{
			name: "takes an only key without a kid", keys: []object{with(ecJWK(), "kid", nil)},
			ids: []string{" ES256"},
		},
		{
			name: "takes an RSA key without alg for RS256", keys: []object{with(rsaJWK(), "alg", nil)},
			ids: []string{"r RS256"},
		},
		{
			name: "takes an RSA key without alg for the only one that is taken", keys: []object{with(rsaJWK(), "alg", nil)}, algorithms: []string{"ES256", "PS384"},
			ids: []string{"r PS384"},
		},
		{
			name: "does not guess between two", keys: []object{with(rsaJWK(), "alg", nil), ecJWK()}, algorithms: []string{"ES256", "RS256", "PS256"},
			ids:     []string{"e ES256"},
			refused: []string{"keys[0].alg: is missing, and a key of type RSA can be for several algorithms; take only one of them from this issuer"},
		},
		{
			name: "ignores keys for what is not taken", keys: []object{rsaJWK(), okp}, algorithms: []string{"Ed25519"},
			ids: []string{"o EdDSA"}, ignored: []string{"keys[0].alg: RS256 is not one that is taken from this issuer"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			set, err := keyset.ParseForeign(document(tc.keys...), tc.algorithms)
			if err != nil {
				t.Fatal(err)
			}
			var ids []string
			for _, key := range set.Keys() {
				ids = append(ids, key.ID()+" "+key.Algorithm())
			}
			got, want := [][]string{ids, set.Refused(), set.Ignored()}, [][]string{tc.ids, tc.refused, tc.ignored}
			if diff := cmp.Diff(got, want, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("keys, refused, ignored: got -, want +:\n%s", diff)
			}
			if _, err := keyset.Parse(must(set.Marshal())); err != nil {
				t.Errorf("what is left is no key set: %v", err)
			}
		})
	}
}

func TestParseForeignFails(t *testing.T) {
	long := strings.Repeat("x", 10_000)
	for _, tc := range []struct {
		name string
		data []byte
		want string
	}{
		{"on what is no JSON", []byte("<html>"), "the key set is not strict JSON"},
		{"on a set without keys", []byte(`{"keys":[]}`), "keys: there are none"},
		{"when nothing is left", document(with(rsaJWK(), "use", "enc"), with(ecJWK(), "d", "AA")), "keys: none of them can be used: keys[1].d: belongs to"},
		{"and is brief about many reasons", document(make([]object, 100)...), "; and 96 more"},
		{"and quotes little", document(object{"kty": long}, object{"kty": "EC", "crv": long}), " ..."},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := keyset.ParseForeign(tc.data, nil)
			if err == nil || !strings.Contains(err.Error(), tc.want) || len(err.Error()) > 1500 {
				t.Errorf("got %v, want %q in it", err, tc.want)
			}
		})
	}
}

// FuzzParseForeign holds that what is taken of a stranger's set is a set that nothing is wrong with.
func FuzzParseForeign(f *testing.F) {
	f.Add(document(ecJWK(), with(rsaJWK(), "alg", nil), with(okpJWK(), "d", "AA"), octJWK()), "")
	f.Add(document(ecJWK(), ecJWK(), with(rsaJWK(), "kid", "e")), "RS256")
	f.Add([]byte(`{"keys":[{"kty":"RSA","n":"AQ","e":"AQAB"},null,{"kid":1}]}`), "PS256,Ed25519")
	f.Fuzz(func(t *testing.T, data []byte, algorithms string) {
		var taken []string
		if algorithms != "" {
			taken = strings.Split(algorithms, ",")
		}
		set, err := keyset.ParseForeign(data, taken)
		if err != nil {
			return
		}
		if set.Symmetric() || set.Len() == 0 {
			t.Fatalf("got %v", set)
		}
		again, err := keyset.Parse(must(set.Marshal()))
		if err != nil || again.Fingerprint() != set.Fingerprint() {
			t.Fatalf("got %v, which is no key set: %v", set, err)
		}
	})
}
