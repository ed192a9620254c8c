package signing_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/latchkey-dev/latchkey/internal/base64url"
	"github.com/latchkey-dev/latchkey/internal/keyset"
	"github.com/latchkey-dev/latchkey/internal/rotation"
	"github.com/latchkey-dev/latchkey/internal/signing"
)

func pkcs8(t *testing.T, private any) []byte {
	t.Helper()
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: must(x509.MarshalPKCS8PrivateKey(private))})
}

func TestImportTakesPrivateKeysOfOthers(t *testing.T) {
	p256, rsaKey := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)), must(rsa.GenerateKey(rand.Reader, 2048))
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, algorithm, want string
		text                  []byte
	}{
		{"P-256 as PKCS #8", "", "ES256", pkcs8(t, p256)},
		{"P-256 as SEC 1", "", "ES256", pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: must(x509.MarshalECPrivateKey(p256))})},
		{"P-521", "", "ES512", pkcs8(t, must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader)))},
		{"RSA as PKCS #8", "", "RS256", pkcs8(t, rsaKey)},
		{"RSA as PKCS #1", "PS384", "PS384", pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(rsaKey)})},
		{"Ed25519", "", "EdDSA", pkcs8(t, edKey)},
		{"Ed25519 by its newer name", "Ed25519", "Ed25519", pkcs8(t, edKey)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ring := must(signing.Import(tc.text, "", tc.algorithm, start))
			ring = must(signing.ParseRing(must(ring.Marshal())))
			active, _ := ring.Active()
			if got := active.Algorithm(); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
			checkSigns(t, active, must(ring.Public(start, time.Hour)), active.ID())
		})
	}
}

// checkSigns checks that what a key signs verifies by the key of a set that an id names.
func checkSigns(t *testing.T, key *signing.Key, set *keyset.Set, id string) {
	t.Helper()
	token := must(key.Sign("", []byte(`{}`)))
	last := strings.LastIndex(token, ".")
	public, ok := set.Lookup(id)
	if !ok {
		t.Fatalf("key %q is not published", id)
	}
	if err := public.Verify([]byte(token[:last]), must(base64url.Decode(token[last+1:]))); err != nil {
		t.Error(err)
	}
}

func TestAnImportedKeyVerifiesUnderItsFormerIDAsLongAsItsTokensLive(t *testing.T) {
	ring := must(signing.Import(pkcs8(t, must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))), "2019-key", "", start))
	ring = must(signing.ParseRing(must(ring.Marshal())))
	active, _ := ring.Active()
	checkSigns(t, active, must(ring.Public(start, time.Hour)), "2019-key")
	checkSigns(t, active, must(ring.Public(start, time.Hour)), active.ID())
	if _, still := must(ring.Public(start.Add(time.Hour+time.Second), time.Hour)).Lookup("2019-key"); still {
		t.Error("got the former id after retain, want it gone")
	}
	if got := ring.Lost(); got != nil {
		t.Errorf("got %v lost, want none: the private half is there, under the new id", got)
	}
	if same := must(signing.Import(active.PrivatePEM(), active.ID(), "", start)); len(same.Rotation()) != 1 {
		t.Error("got a second entry for a key whose id is its thumbprint already, want one")
	}
}

func TestImportRefuses(t *testing.T) {
	weak, good := must(rsa.GenerateKey(rand.Reader, 1024)), must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	text := string(pkcs8(t, good))
	for _, tc := range []struct{ name, text, keyID, algorithm, want string }{
		{"nothing", "", "", "", "private.pem: is missing, or not PEM"},
		{"two keys", text + text, "", "", "private.pem: holds more than one"},
		{"a certificate", strings.ReplaceAll(text, "PRIVATE KEY", "CERTIFICATE"), "", "", "private.pem: is no private key"},
		{"a key with a password", strings.ReplaceAll(text, "PRIVATE KEY", "ENCRYPTED PRIVATE KEY"), "", "", "private.pem: is no private key"},
		{"half a key", strings.Replace(text, "MIGH", "AAAA", 1), "", "", "private.pem: cannot be read"},
		{"a curve that nobody signs with", string(pkcs8(t, must(ecdsa.GenerateKey(elliptic.P224(), rand.Reader)))), "", "", "private.pem: cannot be read"},
		{"RSA of 1024 bits", string(pkcs8(t, weak)), "", "", "private.pem: n: "},
		{"another algorithm than the key is for", text, "", "RS256", "private.pem: alg: "},
		{"an algorithm that is none", text, "", "none", "private.pem: alg: "},
		{"an id that is too long", text, strings.Repeat("x", 5000), "", "kid: "},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ring, err := signing.Import([]byte(tc.text), tc.keyID, tc.algorithm, start)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v and error %v, want %q in the error", ring, err, tc.want)
			}
		})
	}
}

func TestALostKeyGoesOnVerifyingByWhatWasPublished(t *testing.T) {
	for _, algorithm := range []string{"ES256", "RS256", "EdDSA", "Ed25519"} {
		t.Run(algorithm, func(t *testing.T) {
			lost := must(signing.Generate(algorithm, 0))
			published := must(keyset.Parse(must(must(keyset.NewSet(lost.Public(time.Time{}))).Marshal())))
			kept := must(signing.VerifyOnly(published.Keys()[0]))
			if kept.Signs() || kept.ID() != lost.ID() || kept.Algorithm() != algorithm {
				t.Fatalf("got key %q for %s that signs: %v; want %q for %s that does not", kept.ID(), kept.Algorithm(), kept.Signs(), lost.ID(), algorithm)
			}
			ring, _ := three(t, schedule)
			meta := append(ring.Rotation(), rotation.Key{
				ID: kept.ID(), Algorithm: kept.Algorithm(), Phase: rotation.Retiring, PublishedAt: start, ActivatedAt: start, ActivatedBy: rotation.Restored, RetiredAt: start,
			})
			ring = must(signing.ParseRing(must(must(ring.With(9, meta, kept)).Marshal())))
			if got := ring.Serial(); got != 9 {
				t.Errorf("got serial number %d, want 9", got)
			}
			if diff := cmp.Diff(ring.Lost(), []string{lost.ID()}); diff != "" {
				t.Errorf("lost (-got +want):\n%s", diff)
			}
			checkSigns(t, lost, must(ring.Public(start, time.Hour)), lost.ID())
		})
	}
}

func TestWhatIsPublishedUnderAnIDOfAnotherKeyIsNotBelieved(t *testing.T) {
	lost, forged := must(signing.Generate("ES256", 0)), must(signing.Generate("ES256", 0))
	set := string(must(must(keyset.NewSet(forged.Public(time.Time{}))).Marshal()))
	published := must(keyset.Parse([]byte(strings.ReplaceAll(set, forged.ID(), lost.ID()))))
	if key, err := signing.VerifyOnly(published.Keys()[0]); err == nil {
		t.Errorf("got %v, want an error: the id is another key's thumbprint", key.ID())
	}
}

func TestEachChangeOfARingCounts(t *testing.T) {
	ring, now := three(t, schedule)
	before := ring.Serial()
	same := must(ring.Execute(rotation.Plan{}, now, signing.Generate))
	if got := same.Serial(); got != before {
		t.Errorf("got serial number %d after nothing, want %d", got, before)
	}
	changed := must(ring.Execute(rotation.Plan{Steps: []rotation.Step{{Kind: rotation.Remove, ID: ring.Rotation()[0].ID}}}, now, signing.Generate))
	if got := changed.Serial(); got != before+1 {
		t.Errorf("got serial number %d after a change, want %d", got, before+1)
	}
}
