package keyset_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/latchkey-dev/latchkey/internal/base64url"
	"github.com/latchkey-dev/latchkey/internal/keyset"
)

// object is a JWK or a JWKS in the making.
type object = map[string]any

var (
	rsaKey = must(rsa.GenerateKey(rand.Reader, 2048))
	ecKey  = must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
)

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func rsaJWK() object {
	return object{"kty": "RSA", "kid": "r", "alg": "RS256", "n": base64url.Encode(rsaKey.N.Bytes()), "e": "AQAB"}
}

func ecJWK() object {
	point := must(ecKey.PublicKey.Bytes())
	return object{"kty": "EC", "kid": "e", "crv": "P-256", "x": base64url.Encode(point[1:33]), "y": base64url.Encode(point[33:])}
}

func okpJWK() object {
	public, _, err := ed25519.GenerateKey(rand.Reader)
	return object{"kty": "OKP", "kid": "o", "crv": "Ed25519", "x": base64url.Encode(must(public, err))}
}

func octJWK() object {
	return object{"kty": "oct", "kid": "s", "alg": "HS256", "k": strings.Repeat("A", 43)}
}

func with(jwk object, pairs ...any) object {
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] == nil {
			delete(jwk, pairs[i].(string))
		} else {
			jwk[pairs[i].(string)] = pairs[i+1]
		}
	}
	return jwk
}

func document(keys ...object) []byte { return must(json.Marshal(object{"keys": keys})) }

func integer(n *big.Int) string { return base64url.Encode(n.Bytes()) }

func TestParseRefuses(t *testing.T) {
	odd := func(bits uint) *big.Int { return new(big.Int).SetBit(big.NewInt(1), int(bits-1), 1) }
	for _, tc := range []struct {
		name string
		data []byte
		want string
	}{
		{"what is not JSON", []byte(`{"keys":[}`), "the key set is not strict JSON: keys[0]: byte 9: is not JSON"},
		{"a member that is there twice", []byte(`{"keys":[{"kty":"EC","kty":"RSA"}]}`), "the key set is not strict JSON: keys[0].kty: byte 21: given twice"},
		{"a set without keys", []byte(`{}`), "keys: must be an array"},
		{"keys that are no array", []byte(`{"keys":{}}`), "keys: must be an array"},
		{"an empty set", []byte(`{"keys":[]}`), "keys: none of them can verify"},
		{"a huge set", bytes.Repeat([]byte(" "), 1<<20), "longer than"},
		{"too many keys", document(make([]object, 129)...), "keys: holds more than 128 keys"},
		{"a set of which nothing is for signatures", document(with(rsaJWK(), "use", "enc")), "keys: none of them can verify"},
		{"a key that is no object", []byte(`{"keys":["a"]}`), "keys[0].kty: is missing"},
		{"a key without a type", document(with(ecJWK(), "kty", nil)), "keys[0].kty: is missing"},
		{"a member of a wrong type", document(with(ecJWK(), "kid", 1)), "keys[0].kid: must be a string"},
		{"an empty kid", document(with(ecJWK(), "kid", "")), "keys[0].kid: is empty"},
		{"a long kid", document(with(ecJWK(), "kid", strings.Repeat("k", 257))), "keys[0].kid: is longer than 256 bytes"},
		{"a kid that spoils logs", document(with(ecJWK(), "kid", "a\nb")), "keys[0].kid: holds what cannot be printed"},
		{"two keys with one kid", document(ecJWK(), with(rsaJWK(), "kid", "e")), `keys[1].kid: "e" appears twice`},
		{"several keys of which one has no kid", document(ecJWK(), with(rsaJWK(), "kid", nil)), "keys[1].kid: is missing"},

		{"a private EC key", document(with(ecJWK(), "d", "AA")), "keys[0].d: belongs to a private key"},
		{"a private RSA key", document(with(rsaJWK(), "p", "AA")), "keys[0].p: belongs to a private key"},
		{"a private key that nobody would use", document(ecJWK(), object{"kty": "new", "d": "AA"}), "keys[1].d: belongs to a private key"},
		{"a private key for encryption", document(ecJWK(), with(rsaJWK(), "use", "enc", "d", "AA")), "keys[1].d: belongs to a private key"},
		{"a shared secret", document(octJWK()), "keys[0].kty: is a shared secret"},
		{"a shared secret among public keys", document(ecJWK(), octJWK()), "keys[1].kty: is a shared secret"},
		{"a shared secret in a key of another type", document(with(ecJWK(), "k", "AAAA")), "keys[0].kty: is a shared secret"},

		{"an RSA key without an algorithm", document(with(rsaJWK(), "alg", nil)), "keys[0].alg: is missing, and a key of type RSA can be for several"},
		{"an EC algorithm on an RSA key", document(with(rsaJWK(), "alg", "ES256")), "keys[0].alg: ES256 does not go with a key of type"},
		{"HS256 on an RSA key", document(with(rsaJWK(), "alg", "HS256")), "keys[0].alg: HS256 does not go with a key of type"},
		{"an algorithm of another curve", document(with(ecJWK(), "alg", "ES384")), "keys[0].alg: ES384 does not go with the curve"},
		{"an RSA key of 2047 bits", document(with(rsaJWK(), "n", integer(odd(2047)))), "keys[0].n: is 2047 bits long"},
		{"an RSA key of 8193 bits", document(with(rsaJWK(), "n", integer(odd(8193)))), "keys[0].n: is 8193 bits long"},
		{"an even modulus", document(with(rsaJWK(), "n", integer(new(big.Int).Lsh(big.NewInt(1), 2047)))), "keys[0].n: is even"},
		{"a modulus of the ROCA generator", document(with(rsaJWK(), "n", integer(rocaModulus()))), "keys[0].n: was made by a generator whose keys can be factored"},
		{"an RSA key of 1024 bits", document(with(rsaJWK(), "n", integer(odd(1024)))), "keys[0].n: is 1024 bits long"},
		{"ES256 on P-384", document(with(ecJWK(), "crv", "P-384", "alg", "ES256")), "keys[0].alg: ES256 does not go with the curve"},
		{"a modulus with a zero in front", document(with(rsaJWK(), "n", base64url.Encode(append([]byte{0}, rsaKey.N.Bytes()...)))), "keys[0].n: begins with a zero"},
		{"an RSA key without a modulus", document(with(rsaJWK(), "n", nil)), "keys[0].n: is missing"},
		{"exponent 1", document(with(rsaJWK(), "e", "AQ")), "keys[0].e: is 1"},
		{"exponent 3", document(with(rsaJWK(), "e", "Aw")), "keys[0].e: is 3"},
		{"an even exponent", document(with(rsaJWK(), "e", "AQAC")), "keys[0].e: is 65538"},
		{"an exponent that overflows", document(with(rsaJWK(), "e", "AQAAAAAAAAABAAE")), "keys[0].e: is greater"},
		{"a padded modulus", document(with(rsaJWK(), "n", integer(rsaKey.N)+"==")), "keys[0].n: not canonical base64url"},
		{"a point that is not on the curve", document(with(ecJWK(), "y", ecJWK()["x"])), "keys[0].x: the point is not on the curve"},
		{"a coordinate that is too short", document(with(ecJWK(), "x", "AAAA")), "keys[0].x: is 3 bytes long; P-256 wants 32"},
		{"an EC key without y", document(with(ecJWK(), "y", nil)), "keys[0].y: is missing"},
		{"an Ed25519 key that is too short", document(with(okpJWK(), "x", "AAAA")), "keys[0].x: is 3 bytes long; Ed25519 wants 32"},
		{"an Ed25519 key that is no point", document(with(okpJWK(), "x", base64url.Encode(append([]byte{2}, make([]byte, 31)...)))), "keys[0].x: spells no point of the curve"},
		{"an Ed25519 key in another spelling", document(with(okpJWK(), "x", base64url.Encode(slices.Concat([]byte{0xf0}, bytes.Repeat([]byte{0xff}, 30), []byte{0x7f})))), "keys[0].x: spells no point of the curve"}, // of the point that 3 spells
		{"an Ed25519 key with which anybody can sign", document(with(okpJWK(), "x", base64url.Encode(append([]byte{1}, make([]byte, 31)...)))), "keys[0].x: is a point of small order"},
		{"key_ops that is no array", document(with(ecJWK(), "key_ops", "verify")), "keys[0].key_ops: must be an array"},
		{"key_ops with a number", document(with(ecJWK(), "key_ops", []any{1})), "keys[0].key_ops: must be an array of strings"},
		{"key_ops with a duplicate", document(with(ecJWK(), "key_ops", []any{"verify", "verify"})), `keys[0].key_ops: holds "verify" twice`},
		{"an end that is no number", document(with(ecJWK(), "exp", "1")), "keys[0].exp: must be a whole number"},
		{"an end with a fraction", document(with(ecJWK(), "exp", 1.5)), "keys[0].exp: must be a whole number"},
		{"an end before time", document(with(ecJWK(), "exp", -1)), "keys[0].exp: must be a whole number"},
		{"an end beyond all years", document(with(ecJWK(), "exp", 1e17)), "keys[0].exp: must be a whole number"},
		{
			"everything that is wrong, at once", document(with(ecJWK(), "exp", -1), rsaJWK(), with(rsaJWK(), "e", "AQ")),
			"keys[0].exp: must be a whole number of seconds since 1970\nkeys[2].e: is 1; an odd number from 65537 to 2147483647 is wanted",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			set, err := keyset.Parse(tc.data)
			if err == nil {
				t.Fatalf("got %v, want an error with %q", set, tc.want)
			}
			if got := err.Error(); !strings.Contains(got, tc.want) {
				t.Errorf("got %q, want %q in it", got, tc.want)
			}
		})
	}
}

// rocaModulus is the like of those that the vulnerable generator made: a power of 65537 modulo each of its primes.
func rocaModulus() *big.Int {
	product := big.NewInt(1)
	for _, p := range []int64{2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157} {
		product.Mul(product, big.NewInt(p))
	}
	residue := new(big.Int).Exp(big.NewInt(65537), big.NewInt(12345), product)
	multiple := new(big.Int).Div(new(big.Int).Lsh(big.NewInt(1), 2047), product)
	multiple.Add(multiple, big.NewInt(2))
	return residue.Add(residue, multiple.Mul(multiple, product))
}

func TestParseTakes(t *testing.T) {
	for _, tc := range []struct {
		name string
		jwk  object
		want string
	}{
		{"an EC key, whose curve says the algorithm", ecJWK(), "ES256"},
		{"an EC key that says it", with(ecJWK(), "alg", "ES256"), "ES256"},
		{"an RSA key", rsaJWK(), "RS256"},
		{"an RSA key for PSS", with(rsaJWK(), "alg", "PS512"), "PS512"},
		{"an Ed25519 key", okpJWK(), "EdDSA"},
		{"an Ed25519 key under its newer name", with(okpJWK(), "alg", "Ed25519"), "EdDSA"},
		{"a key for signatures, by use", with(ecJWK(), "use", "sig"), "ES256"},
		{"a key for signatures, by key_ops", with(ecJWK(), "key_ops", []any{"verify"}), "ES256"},
		{"a key with members that it does not know", with(ecJWK(), "x5c", []any{"MII"}, "nbf", 1), "ES256"},
		{"an only key without a kid", with(ecJWK(), "kid", nil), "ES256"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			set, err := keyset.Parse(document(tc.jwk))
			if err != nil {
				t.Fatal(err)
			}
			key, ok := set.Lookup("")
			if !ok {
				t.Fatal("got no key, want the only one")
			}
			if got := key.Algorithm(); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}

func TestKeysThatAreNotForSignaturesAreLeftOut(t *testing.T) {
	set, err := keyset.Parse(document(
		ecJWK(),
		object{"kty": "AKP", "alg": "ML-DSA-44", "pub": "AA"},
		with(rsaJWK(), "use", "enc"),
		with(rsaJWK(), "key_ops", []any{"encrypt"}),
		with(okpJWK(), "crv", "X25519"),
		with(rsaJWK(), "alg", "RSA-OAEP"),
	))
	if err != nil {
		t.Fatal(err)
	}
	if got := set.Len(); got != 1 {
		t.Errorf("got %d keys, want 1", got)
	}
	want := []string{
		`keys[1].kty: "AKP" is a type of key that we do not know`,
		`keys[2].use: is "enc", not sig`,
		`keys[3].key_ops: does not hold verify`,
		`keys[4].crv: "X25519" does not go with a type of key that we know`,
		`keys[5].alg: "RSA-OAEP" is not an algorithm for signatures that we know`,
	}
	if diff := cmp.Diff(set.Ignored(), want); diff != "" {
		t.Errorf("got -, want +:\n%s", diff)
	}
}

func TestParseSymmetric(t *testing.T) {
	for _, tc := range []struct {
		name string
		jwk  object
		want string // in the error; empty: taken
	}{
		{"takes a secret as long as the hash", octJWK(), ""},
		{"refuses one that is a byte too short", with(octJWK(), "k", strings.Repeat("A", 42)), "keys[0].k: is 31 bytes long; HS256 wants 32"},
		{"refuses a secret for a longer hash", with(octJWK(), "alg", "HS384"), "keys[0].k: is 32 bytes long; HS384 wants 48"},
		{"refuses an empty secret", with(octJWK(), "k", ""), "keys[0].k: is empty"},
		{"refuses one without an algorithm", with(octJWK(), "alg", nil), "keys[0].alg: is missing"},
		{"refuses one for RS256", with(octJWK(), "alg", "RS256"), "keys[0].alg: RS256 does not go with a key of type"},
		{"refuses a private key all the same", with(ecJWK(), "d", "AA"), "keys[0].d: belongs to a private key"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			set, err := keyset.ParseSymmetric(document(tc.jwk))
			switch {
			case tc.want != "":
				if err == nil || !strings.Contains(err.Error(), tc.want) {
					t.Errorf("got error %v, want %q in it", err, tc.want)
				}
			case err != nil:
				t.Error(err)
			case !set.Symmetric():
				t.Error("got a set that says it is public")
			}
		})
	}
}

func TestErrorsQuoteNoSecret(t *testing.T) {
	const secret = "c2VjcmV0LXNlY3JldA"
	for _, data := range [][]byte{
		document(with(octJWK(), "k", secret)), document(with(octJWK(), "k", secret+"==")), document(with(octJWK(), "kty", "EC", "k", secret)),
	} {
		for _, parse := range []func([]byte) (*keyset.Set, error){keyset.Parse, keyset.ParseSymmetric} {
			if _, err := parse(data); err == nil || strings.Contains(err.Error(), secret) {
				t.Errorf("got %v, want an error without the secret", err)
			}
		}
	}
}

func TestSecretsCannotBePrinted(t *testing.T) {
	secret := octJWK()["k"].(string)
	set := must(keyset.ParseSymmetric(document(octJWK())))
	key, _ := set.Lookup("s")
	for _, value := range []any{key, *key, set, *set, struct {
		Set *keyset.Set
		Key *keyset.Key
	}{set, key}, []any{*key}} {
		var log bytes.Buffer
		slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "value", value)
		printed := fmt.Sprintf("%v %+v %#v %s %q %d %x %t", value, value, value, value, value, value, value, value) + log.String() + string(must(json.Marshal(value)))
		if strings.Contains(printed, secret) || strings.Contains(printed, "[0 0 0 0") {
			t.Errorf("got the secret of a %T in %s", value, printed)
		}
	}
}

func TestASetHasOneForm(t *testing.T) {
	a := must(keyset.Parse(document(ecJWK(), with(rsaJWK(), "exp", 1767225600, "x5t", "abc"))))
	b := must(keyset.Parse(document(with(rsaJWK(), "exp", 1767225600, "use", "sig"), with(ecJWK(), "alg", "ES256"))))
	if diff := cmp.Diff(string(must(a.Marshal())), string(must(b.Marshal()))); diff != "" {
		t.Errorf("equal sets differ: %s", diff)
	}
	if a.Fingerprint() != b.Fingerprint() {
		t.Error("equal sets have different fingerprints")
	}
	if c := must(keyset.Parse(document(ecJWK()))); c.Fingerprint() == a.Fingerprint() {
		t.Error("different sets have one fingerprint")
	}
	again := must(keyset.Parse(must(json.Marshal(a))))
	if diff := cmp.Diff(string(must(again.Marshal())), string(must(a.Marshal()))); diff != "" {
		t.Errorf("reading it back changed it: %s", diff)
	}
	want := fmt.Sprintf(`{"keys":[{"alg":"ES256","crv":"P-256","kid":"e","kty":"EC","use":"sig","x":%q,"y":%q},`+
		`{"alg":"RS256","e":"AQAB","exp":1767225600,"kid":"r","kty":"RSA","n":%q,"use":"sig"}]}`, ecJWK()["x"], ecJWK()["y"], rsaJWK()["n"])
	if diff := cmp.Diff(string(must(a.Marshal())), want); diff != "" {
		t.Errorf("got -, want +:\n%s", diff)
	}
}

func TestTheEndOfAKeyIsRoundedUpToTheSecond(t *testing.T) {
	end := time.Date(2026, 1, 1, 0, 0, 0, 1, time.UTC)
	key := must(keyset.New("a", "ES256", &ecKey.PublicKey, end))
	if got, want := key.NotAfter(), end.Truncate(time.Second).Add(time.Second); !got.Equal(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	read, _ := must(keyset.Parse(must(must(keyset.NewSet(key)).Marshal()))).Lookup("a")
	if got, want := read.NotAfter(), key.NotAfter(); !got.Equal(want) {
		t.Errorf("read back: got %v, want %v", got, want)
	}
	if got := key.Until(time.Time{}).NotAfter(); !got.IsZero() {
		t.Errorf("without an end: got %v, want none", got)
	}
}

func TestLookupWithoutAKidNeedsAnOnlyKey(t *testing.T) {
	set := must(keyset.Parse(document(ecJWK(), rsaJWK())))
	for kid, want := range map[string]bool{"e": true, "r": true, "": false, "E": false, "x": false} {
		if _, got := set.Lookup(kid); got != want {
			t.Errorf("%q: got %t, want %t", kid, got, want)
		}
	}
	if _, got := must(keyset.Parse(document(with(ecJWK(), "kid", nil)))).Lookup("x"); got {
		t.Error("got a key without a kid for a kid")
	}
}

func TestPSSTakesASaltAsLongAsTheHashOnly(t *testing.T) {
	key := must(keyset.New("a", "PS256", &rsaKey.PublicKey, time.Time{}))
	input := []byte("a.b")
	digest := sha256.Sum256(input)
	for length, want := range map[int]bool{32: true, 20: false, 31: false, 33: false, 64: false} {
		signature := must(rsa.SignPSS(rand.Reader, rsaKey, crypto.SHA256, digest[:], &rsa.PSSOptions{SaltLength: length}))
		if got := key.Verify(input, signature) == nil; got != want {
			t.Errorf("a salt of %d bytes: got %t, want %t", length, got, want)
		}
	}
	longest := must(rsa.SignPSS(rand.Reader, rsaKey, crypto.SHA256, digest[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthAuto}))
	if key.Verify(input, longest) == nil {
		t.Error("the longest salt: got it taken")
	}
}

func TestNewRefusesWhatParseRefuses(t *testing.T) {
	weak := &rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), 1023, 1), E: 65537}
	for _, tc := range []struct {
		name      string
		id, alg   string
		material  any
		wantError string
	}{
		{"a short RSA key", "a", "RS256", weak, "n: is 1024 bits long"},
		{"another curve's algorithm", "a", "ES512", &ecKey.PublicKey, "alg: ES512 does not go with"},
		{"an unknown algorithm", "a", "none", &ecKey.PublicKey, `alg: "none" is not an algorithm`},
		{"a short secret", "a", "HS256", make([]byte, 31), "k: is 31 bytes long"},
		{"a wrong type", "a", "HS256", "secret", "no key can be made of a string"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := keyset.New(tc.id, tc.alg, tc.material, time.Time{}); err == nil || !strings.Contains(err.Error(), tc.wantError) {
				t.Errorf("got %v, want %q in it", err, tc.wantError)
			}
		})
	}
	if _, err := keyset.NewSet(); err == nil {
		t.Error("got a set without keys")
	}
}

func FuzzParse(f *testing.F) {
	f.Add(document(ecJWK(), rsaJWK(), okpJWK()))
	f.Add(document(octJWK()))
	f.Add(document(with(ecJWK(), "use", "enc"), with(ecJWK(), "exp", 1, "key_ops", []any{"verify"})))
	f.Add([]byte(`{"keys":[{"kty":"RSA","alg":"RS256","n":"AQ","e":"AQAB"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		set, err := keyset.ParseSymmetric(data)
		public, publicErr := keyset.Parse(data)
		if publicErr == nil && (err != nil || public.Symmetric()) {
			t.Fatalf("a public set that ParseSymmetric refuses (%v) or that holds secrets", err)
		}
		if err != nil {
			return
		}
		text := must(set.Marshal())
		again, err := keyset.ParseSymmetric(text)
		if err != nil {
			t.Fatalf("refused its own form: %v\n%s", err, text)
		}
		if got := must(again.Marshal()); !bytes.Equal(got, text) {
			t.Fatalf("got %s, want %s", got, text)
		}
		for _, key := range set.Keys() {
			for _, size := range []int{32, 48, 64, 96, 132, 256, 257, 1024} { // those of all algorithms
				signature := make([]byte, size)
				for _, last := range []byte{0, 1} {
					if signature[size-1] = last; key.Verify([]byte("a"), signature) == nil {
						t.Fatalf("%v takes %d zeros and %d for a signature", key, size-1, last)
					}
				}
			}
		}
	})
}
