package signing_test

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/latchkey-dev/latchkey/internal/base64url"
	"github.com/latchkey-dev/latchkey/internal/keyset"
	"github.com/latchkey-dev/latchkey/internal/rotation"
	"github.com/latchkey-dev/latchkey/internal/signing"
)

var (
	start    = time.Date(2026, 1, 1, 0, 0, 0, 123456789, time.UTC)
	schedule = rotation.Schedule{Algorithm: "ES256", RotateEvery: 30 * time.Minute, PublishLead: 10 * time.Minute, Retain: 20 * time.Minute}
)

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// after returns the ring that the schedule has made of ring at now.
func after(t *testing.T, ring *signing.Ring, s rotation.Schedule, now time.Time) *signing.Ring {
	t.Helper()
	ring, err := ring.Execute(rotation.Decide(now, s, ring.Rotation()), now, signing.Generate)
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

// three returns a ring with a key of every phase, and the time at which it has them.
func three(t *testing.T, s rotation.Schedule) (*signing.Ring, time.Time) {
	t.Helper()
	s.Retain = time.Hour
	var ring *signing.Ring
	for _, minutes := range []int{0, 20, 30, 50} {
		ring = after(t, ring, s, start.Add(time.Duration(minutes)*time.Minute))
	}
	return ring, start.Add(50 * time.Minute)
}

func TestSignedTokensVerify(t *testing.T) {
	for _, algorithm := range append(keyset.Algorithms(), "Ed25519") {
		t.Run(algorithm, func(t *testing.T) {
			key, err := signing.Generate(algorithm, 0)
			if err != nil {
				t.Fatal(err)
			}
			token, err := key.Sign("at+jwt", []byte(`{"iss":"a"}`))
			if err != nil {
				t.Fatal(err)
			}
			parts := strings.Split(token, ".")
			header := string(must(base64url.Decode(parts[0])))
			if want := fmt.Sprintf(`{"alg":%q,"kid":%q,"typ":"at+jwt"}`, algorithm, key.ID()); header != want {
				t.Errorf("got header %s, want %s", header, want)
			}
			signature := must(base64url.Decode(parts[2]))
			public := key.Public(time.Time{})
			if set := string(must(must(keyset.NewSet(public)).Marshal())); !strings.Contains(set, fmt.Sprintf(`"alg":%q`, algorithm)) {
				t.Errorf("got %s published, want it for %s", set, algorithm)
			}
			if err := public.Verify([]byte(parts[0]+"."+parts[1]), signature); err != nil {
				t.Error(err)
			}
			if err := public.Verify([]byte(parts[0]+"."+parts[1]+"x"), signature); !errors.Is(err, keyset.ErrSignature) {
				t.Errorf("over other bytes: got %v, want %v", err, keyset.ErrSignature)
			}
		})
	}
}

func TestGenerateRefuses(t *testing.T) {
	for _, tc := range []struct {
		algorithm string
		bits      int
	}{{"none", 0}, {"", 0}, {"es256", 0}, {"RS256", 1024}, {"PS256", 2047}, {"RS256", 8192}, {"RS256", -1}} {
		if key, err := signing.Generate(tc.algorithm, tc.bits); err == nil {
			t.Errorf("%q with %d bits: got %v, want an error", tc.algorithm, tc.bits, key)
		}
	}
}

func TestBitsAreThoseOfRSAKeysOnly(t *testing.T) {
	if got := must(signing.Generate("RS256", 0)).Bits(); got != 2048 {
		t.Errorf("RS256: got %d, want 2048", got)
	}
	if got := must(signing.Generate("ES256", 0)).Bits(); got != 0 {
		t.Errorf("ES256: got %d, want 0", got)
	}
}

func TestPrivatePEMIsReadByOthers(t *testing.T) {
	for _, algorithm := range []string{"ES256", "ES512", "RS256", "EdDSA"} {
		key := must(signing.Generate(algorithm, 0))
		block, rest := pem.Decode(key.PrivatePEM())
		if block == nil || block.Type != "PRIVATE KEY" || len(rest) > 0 {
			t.Fatalf("%s: got %v and %q, want one block PRIVATE KEY", algorithm, block, rest)
		}
		private := must(x509.ParsePKCS8PrivateKey(block.Bytes))
		same, err := keyset.New(key.ID(), algorithm, private.(crypto.Signer).Public(), time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		token := must(key.Sign("", []byte(`{}`)))
		input, signature, _ := strings.Cut(token[strings.Index(token, ".")+1:], ".")
		if err := same.Verify([]byte(token[:strings.Index(token, ".")+1]+input), must(base64url.Decode(signature))); err != nil {
			t.Errorf("%s: %v", algorithm, err)
		}
	}
	if got := must(signing.Generate("HS256", 0)).PrivatePEM(); got != nil {
		t.Errorf("HS256: got %d bytes, want none", len(got))
	}
}

func TestARingSurvivesItsStorage(t *testing.T) {
	for _, algorithm := range []string{"ES256", "ES384", "ES512", "RS256", "PS384", "EdDSA", "Ed25519", "HS256", "HS512"} {
		t.Run(algorithm, func(t *testing.T) {
			s := schedule
			s.Algorithm = algorithm
			ring, now := three(t, s)
			data := must(ring.Marshal())
			read, err := signing.ParseRing(data)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(read.Rotation(), ring.Rotation()); diff != "" {
				t.Errorf("got -, want +:\n%s", diff)
			}
			if got := must(read.Marshal()); !bytes.Equal(got, data) {
				t.Errorf("got %s, want %s", got, data)
			}
			if got, want := must(read.Public(now, s.Retain)).Fingerprint(), must(ring.Public(now, s.Retain)).Fingerprint(); got != want {
				t.Errorf("the public halves differ: got %s, want %s", got, want)
			}
			key, _ := read.Active()
			set := must(ring.Public(now, s.Retain))
			token := must(key.Sign("", []byte(`{}`)))
			public, ok := set.Lookup(key.ID())
			if !ok {
				t.Fatal("the key that signs is not published")
			}
			last := strings.LastIndex(token, ".")
			if err := public.Verify([]byte(token[:last]), must(base64url.Decode(token[last+1:]))); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestParseRingRefuses(t *testing.T) {
	ring, _ := three(t, schedule)
	rsaRing, _ := three(t, rotation.Schedule{Algorithm: "RS256", RotateEvery: 30 * time.Minute, PublishLead: 10 * time.Minute})
	type document = map[string]any
	key := func(d document, i int) document { return d["keys"].([]any)[i].(document) }
	jwk := func(d document, i int) document { return key(d, i)["jwk"].(document) }
	for _, tc := range []struct {
		name   string
		ring   *signing.Ring
		damage func(document)
		want   string
	}{
		{"another version", ring, func(d document) { d["version"] = 2 }, "version: is 2; this version of Latchkey reads 1"},
		{"a ring without keys", ring, func(d document) { d["keys"] = []any{} }, "keys: there are none"},
		{"an unknown field", ring, func(d document) { d["more"] = 1 }, "more: unknown field"},
		{"an unknown member", ring, func(d document) { jwk(d, 0)["more"] = "a" }, "keys[0].jwk.more: unknown field"},
		{"an unknown phase", ring, func(d document) { key(d, 1)["phase"] = "active" }, `keys[1].phase: "active" is none`},
		{"two active keys", ring, func(d document) { key(d, 0)["phase"] = "Active"; delete(key(d, 0), "retiredAt") }, "keys[1].phase: a second key is Active"},
		{"a key without a time", ring, func(d document) { delete(key(d, 1), "activatedAt") }, "keys[1].activatedAt: is missing from a key that is Active"},
		{"a time too many", ring, func(d document) { key(d, 2)["activatedAt"] = start }, "keys[2].activatedAt: does not go with a key that is Pending"},
		{"a key that is there twice", ring, func(d document) { key(d, 2)["jwk"] = jwk(d, 1) }, "appears twice"},
		{"another kid", ring, func(d document) { jwk(d, 0)["kid"] = "a" }, "keys[0].jwk: kid: is not the key's thumbprint"},
		{"another algorithm", ring, func(d document) { jwk(d, 0)["alg"] = "ES384" }, "keys[0].jwk: alg: ES384 does not go with"},
		{"the private half of another key", ring, func(d document) { jwk(d, 0)["d"] = jwk(d, 1)["d"] }, "halves belong together"},
		{"the private half of another RSA key", rsaRing, func(d document) { jwk(d, 0)["d"] = jwk(d, 1)["d"] }, "halves belong together"},
		{"an active key without its private half", ring, func(d document) { delete(jwk(d, 1), "d") }, "keys[1].jwk: has no private half"},
		{"a pending key without its private half", ring, func(d document) { delete(jwk(d, 2), "d") }, "keys[2].jwk: has no private half"},
		{"no serial number", ring, func(d document) { delete(d, "serial") }, "serial: must be between 1 and"},
		{"a serial number that nothing can follow", ring, func(d document) { d["serial"] = int64(1)<<53 + 1 }, "serial: must be between 1 and"},
		{"no reason to sign", ring, func(d document) { delete(key(d, 1), "activatedBy") }, `keys[1].activatedBy: "" does not go with a key that is Active`},
		{"a reason to sign that is none", ring, func(d document) { key(d, 1)["activatedBy"] = "Retained" }, `keys[1].activatedBy: "Retained" does not go`},
		{"a reason to sign before its turn", ring, func(d document) { key(d, 2)["activatedBy"] = "Due" }, `keys[2].activatedBy: "Due" does not go`},
		{"more keys than verifiers take", ring, func(d document) { d["keys"] = slices.Repeat(d["keys"].([]any), 50) }, "keys: there are more than 128"},
		{"a key that is no base64url", ring, func(d document) { jwk(d, 0)["d"] = "!" }, "keys[0].jwk: cannot be read"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var d document
			if err := json.Unmarshal(must(tc.ring.Marshal()), &d); err != nil {
				t.Fatal(err)
			}
			secrets := []string{jwk(d, 0)["d"].(string), jwk(d, 1)["d"].(string)}
			tc.damage(d)
			_, err := signing.ParseRing(must(json.Marshal(d)))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("got error %v, want %q in it", err, tc.want)
			}
			for _, secret := range secrets {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("the error quotes a private key: %v", err)
				}
			}
		})
	}
	for name, data := range map[string]string{"nothing": "", "half a ring": string(must(ring.Marshal())[:100]), "a member given twice": `{"version":1,"version":1}`} {
		if _, err := signing.ParseRing([]byte(data)); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
}

func TestPublicHoldsEveryKeyThatVerifies(t *testing.T) {
	ring, now := three(t, schedule)
	meta := ring.Rotation()
	end := now.Truncate(time.Second).Add(time.Second) // the whole second after what it retired at, and retain
	if got := meta[0].RetiredAt.Add(schedule.Retain); !got.Equal(now) {
		t.Fatalf("the story is off: it is %v, and the first key is retained until %v", now, got)
	}
	for _, tc := range []struct {
		name string
		now  time.Time
		want []string
	}{
		{"all three before the end of the retiring one", end.Add(-1), []string{meta[0].ID, meta[1].ID, meta[2].ID}},
		{"two from then on", end, []string{meta[1].ID, meta[2].ID}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var got []string
			for _, key := range must(ring.Public(tc.now, schedule.Retain)).Keys() {
				got = append(got, key.ID())
				want := time.Time{}
				if key.ID() == meta[0].ID {
					want = end // what is published is when it leaves the ring, to the nanosecond
				}
				if got := key.NotAfter(); !got.Equal(want) {
					t.Errorf("%s: got the end %v, want %v", key.ID(), got, want)
				}
			}
			slices.Sort(tc.want)
			if diff := cmp.Diff(got, tc.want); diff != "" {
				t.Errorf("got -, want +:\n%s", diff)
			}
		})
	}
}

func TestSecretData(t *testing.T) {
	ring, now := three(t, schedule)
	data, err := ring.SecretData(now.Add(time.Second), schedule.Retain)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(data)), []string{"algorithm", "jwks.json", "kid", "private.pem", "ring.json"}); diff != "" {
		t.Errorf("got -, want +:\n%s", diff)
	}
	active, _ := ring.Active()
	if got := string(data[signing.KeyIDFile]); got != active.ID() {
		t.Errorf("kid: got %s, want %s", got, active.ID())
	}
	if set, err := keyset.Parse(data[signing.KeySetFile]); err != nil || set.Len() != 2 {
		t.Errorf("jwks.json: got %v, error %v, want two keys", set, err)
	}
	if !bytes.Equal(data[signing.PrivateFile], active.PrivatePEM()) {
		t.Error("private.pem is not the key that signs")
	}

	symmetric := after(t, nil, rotation.Schedule{Algorithm: "HS256"}, now)
	data = must(symmetric.SecretData(now, schedule.Retain))
	if _, has := data[signing.PrivateFile]; has {
		t.Error("HS256: got a private.pem")
	}
	if _, err := keyset.ParseSymmetric(data[signing.KeySetFile]); err != nil {
		t.Errorf("HS256: jwks.json: %v", err)
	}

	var none *signing.Ring
	if data, err := none.SecretData(now, schedule.Retain); err == nil {
		t.Errorf("without a key: got %d files, want an error", len(data))
	}
}

func TestExecuteLeavesTheOldRingAlone(t *testing.T) {
	ring := after(t, nil, schedule, start)
	before := must(ring.Marshal())
	for _, tc := range []struct {
		name     string
		plan     rotation.Plan
		generate func(string, int) (*signing.Key, error)
	}{
		{"when it goes well", rotation.Decide(start.Add(time.Hour), schedule, ring.Rotation()), signing.Generate},
		{"when no key can be made", rotation.Decide(start.Add(time.Hour), schedule, ring.Rotation()), func(string, int) (*signing.Key, error) {
			return nil, errors.New("no entropy")
		}},
		{"when the plan is for another ring", rotation.Plan{Steps: []rotation.Step{{Kind: rotation.Remove, ID: "x"}}}, signing.Generate},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := ring.Execute(tc.plan, start.Add(time.Hour), tc.generate); (err == nil) != (tc.name == "when it goes well") {
				t.Errorf("got error %v", err)
			}
			if got := must(ring.Marshal()); !bytes.Equal(got, before) {
				t.Error("the old ring changed")
			}
		})
	}
}

func TestKeysCannotBePrinted(t *testing.T) {
	for _, algorithm := range []string{"ES256", "RS256", "EdDSA", "HS256"} {
		ring := after(t, nil, rotation.Schedule{Algorithm: algorithm}, start)
		key, _ := ring.Active()
		for _, value := range []any{key, *key, ring, *ring, []*signing.Key{key}, struct {
			Key  *signing.Key
			Ring signing.Ring
		}{key, *ring}} {
			var log bytes.Buffer
			slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "value", value)
			for _, printed := range []string{
				fmt.Sprintf("%v", value), fmt.Sprintf("%+v", value), fmt.Sprintf("%#v", value), fmt.Sprintf("%s", value), fmt.Sprintf("%q", value),
				fmt.Sprintf("%d", value), fmt.Sprintf("%x", value), fmt.Sprintf("%t", value),
				log.String(), string(must(json.Marshal(value))),
			} {
				if !strings.Contains(printed, "[redacted]") || len(printed) > 150 {
					t.Errorf("%s: %T is printed as %s", algorithm, value, printed)
				}
			}
		}
	}
}

func FuzzParseRing(f *testing.F) {
	for _, algorithm := range []string{"ES256", "EdDSA", "HS256"} {
		ring := must((*signing.Ring)(nil).Execute(rotation.Decide(start, rotation.Schedule{Algorithm: algorithm}, nil), start, signing.Generate))
		f.Add(must(ring.Marshal()))
	}
	f.Add([]byte(`{"version":1,"keys":[{"phase":"Active","jwk":{"alg":"ES256","kid":"a","kty":"EC"}}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		ring, err := signing.ParseRing(data)
		if err != nil {
			return
		}
		text := must(ring.Marshal())
		again, err := signing.ParseRing(text)
		if err != nil {
			t.Fatalf("refused its own form: %v", err)
		}
		if !bytes.Equal(must(again.Marshal()), text) {
			t.Fatal("reading a ring back changed it")
		}
	})
}

func BenchmarkSign(b *testing.B) {
	claims := []byte(`{"iss":"https://auth.example","sub":"alice","aud":["app"],"exp":1767225600,"iat":1767225300,"jti":"0a1b2c3d","sid":"c2Vzc2lvbg"}`)
	for _, algorithm := range []string{"ES256", "RS256", "EdDSA", "HS256"} {
		key := must(signing.Generate(algorithm, 0))
		b.Run(algorithm, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := key.Sign("at+jwt", claims); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
