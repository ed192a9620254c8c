package verify_test

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-dev/latchkey/internal/keyset"
	"github.com/latchkey-dev/latchkey/internal/verify"
)

// vectors is where others' test vectors lie beside the repository. They are data that the project does not copy.
const vectors = "../../../shared/vectors"

func haveVectors(t *testing.T) {
	t.Helper()
	if _, err := os.Stat(vectors); os.IsNotExist(err) {
		const missing = "the vectors of Wycheproof and RFC 7520 are not beside the repository, at " + vectors
		if os.Getenv("CI") == "true" {
			t.Fatal(missing)
		}
		t.Skip(missing)
	}
}

func readVectors(t *testing.T, name string, into any) {
	t.Helper()
	haveVectors(t)
	data, err := os.ReadFile(filepath.Join(vectors, name))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatal(err)
	}
}

// accepts says whether token is a signature by a key of the document, which is a JWK or a JWKS. Secrets are read only where the document has
// nothing else: a set that mixes them with public keys has no place where it could come from.
func accepts(document json.RawMessage, token string) error {
	var probe struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(document, &probe); err != nil {
		return err
	}
	if probe.Keys == nil {
		probe.Keys = []json.RawMessage{document}
	}
	parse := keyset.ParseSymmetric
	for _, k := range probe.Keys {
		var kind struct {
			Type string `json:"kty"`
		}
		if err := json.Unmarshal(k, &kind); err != nil || kind.Type != "oct" {
			parse = keyset.Parse
		}
	}
	data, err := json.Marshal(map[string]any{"keys": probe.Keys})
	if err != nil {
		return err
	}
	keys, err := parse(data)
	if err != nil {
		return err
	}
	envelope, err := verify.Open(token)
	if err != nil {
		return err
	}
	_, err = envelope.Check(keys, time.Unix(0, 0))
	return err
}

func TestWycheproof(t *testing.T) {
	// What we refuse, or take, other than the vectors say, and why.
	deviations := map[string]map[int]string{
		"json_web_signature_test.json": {
			346: "the key is for PS256 and the token says PS384",
			350: "the key is for PS256 and the token says PS384",
			347: "ES521 is no registered algorithm; the vector takes it for ES512",
			351: "ES521 is no registered algorithm; the vector takes it for ES512",
			367: "marked invalid, and byte for byte vector 357, which is valid",
			370: "marked invalid, and byte for byte vector 357, which is valid",
			372: "an illegal ? in base64url, marked valid",
			373: "an illegal ? in base64url, marked valid",
		},
	}
	for _, name := range []string{"json_web_signature_test.json", "json_web_key_test.json", "json_web_crypto_test.json"} {
		t.Run(name, func(t *testing.T) {
			var file struct {
				Groups []struct {
					Comment string
					Public  json.RawMessage
					Private json.RawMessage
					Tests   []struct {
						TcID    int
						Comment string
						JWS     any // text, or an object for the JSON serialisation
						JWE     any
						Result  string
					}
				} `json:"testGroups"`
			}
			readVectors(t, filepath.Join("wycheproof", name), &file)
			valid, invalid := 0, 0
			for _, group := range file.Groups {
				keys := group.Public
				if keys == nil {
					keys = group.Private
				}
				for _, tc := range group.Tests {
					vector, want := tc.JWS, tc.Result == "valid"
					if tc.JWE != nil {
						vector, want = tc.JWE, false // nothing encrypted is taken
					}
					token, compact := vector.(string)
					if !compact {
						token = string(must(json.Marshal(vector)))
					}
					why, deviates := deviations[name][tc.TcID]
					if deviates {
						want = !want
					}
					err := accepts(keys, token)
					if got := err == nil; got != want {
						t.Errorf("%d, %s: %s: got %t (%v), want %t %s", tc.TcID, group.Comment, tc.Comment, got, err, want, why)
					}
					if want {
						valid++
					} else {
						invalid++
					}
				}
			}
			if valid == 0 || invalid == 0 {
				t.Errorf("got %d valid and %d invalid vectors, want some of both", valid, invalid)
			}
		})
	}
}

// TestCookbookInJSON has what the cookbook signs in the JSON serialisations, some of it in no other: none of that is taken.
func TestCookbookInJSON(t *testing.T) {
	for _, name := range []string{
		"jws/4_1.rsa_v15_signature.json", "jws/4_2.rsa-pss_signature.json", "jws/4_3.ecdsa_signature.json", "jws/4_4.hmac-sha2_integrity_protection.json",
		"jws/4_5.signature_with_detached_content.json", "jws/4_6.protecting_specific_header_fields.json", "jws/4_7.protecting_content_only.json",
		"jws/4_8.multiple_signatures.json", "curve25519/jws.json", "rfc7797/4.2.hmac-sha2_b64_false.json",
	} {
		t.Run(name, func(t *testing.T) {
			var file struct {
				Output map[string]json.RawMessage `json:"output"`
			}
			readVectors(t, filepath.Join("jose-cookbook", name), &file)
			tried := 0
			for form, document := range file.Output {
				if form == "compact" {
					continue // TestCookbook
				}
				tried++
				if _, err := verify.Open(string(document)); err == nil {
					t.Errorf("%s: got it taken", form)
				}
			}
			if tried == 0 {
				t.Errorf("found no JSON serialisation among %d outputs", len(file.Output))
			}
		})
	}
}

// TestEveryVectorIsRead fails when there are vectors that no test here knows.
func TestEveryVectorIsRead(t *testing.T) {
	known := map[string]bool{
		"wycheproof/json_web_signature_test.json": true, "wycheproof/json_web_key_test.json": true, "wycheproof/json_web_crypto_test.json": true,
		"jose-cookbook/jws/4_1.rsa_v15_signature.json": true, "jose-cookbook/jws/4_2.rsa-pss_signature.json": true, "jose-cookbook/jws/4_3.ecdsa_signature.json": true,
		"jose-cookbook/jws/4_4.hmac-sha2_integrity_protection.json": true, "jose-cookbook/jws/4_5.signature_with_detached_content.json": true,
		"jose-cookbook/jws/4_6.protecting_specific_header_fields.json": true, "jose-cookbook/jws/4_7.protecting_content_only.json": true,
		"jose-cookbook/jws/4_8.multiple_signatures.json": true, "jose-cookbook/curve25519/jws.json": true, "jose-cookbook/rfc7797/4.2.hmac-sha2_b64_false.json": true,
	}
	haveVectors(t)
	err := fs.WalkDir(os.DirFS(vectors), ".", func(path string, _ fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".json") && !known[path] {
			t.Errorf("no test reads %s", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestCookbook(t *testing.T) {
	for _, tc := range []struct {
		name     string
		detached bool
		want     bool
	}{
		{name: "jws/4_1.rsa_v15_signature.json", want: true},
		{name: "jws/4_2.rsa-pss_signature.json", want: true},
		{name: "jws/4_3.ecdsa_signature.json", want: true},
		{name: "jws/4_4.hmac-sha2_integrity_protection.json", want: true},
		{name: "jws/4_5.signature_with_detached_content.json", detached: true, want: false},
		{name: "curve25519/jws.json", want: true},
		{name: "rfc7797/4.2.hmac-sha2_b64_false.json", want: false}, // the payload is not encoded
	} {
		t.Run(tc.name, func(t *testing.T) {
			var file struct {
				Input struct {
					Algorithm string         `json:"alg"`
					Key       map[string]any `json:"key"`
				} `json:"input"`
				Signing struct {
					Input     string `json:"sig-input"`
					Signature string `json:"sig"`
				} `json:"signing"`
			}
			readVectors(t, filepath.Join("jose-cookbook", tc.name), &file)
			if file.Signing.Input == "" || file.Signing.Signature == "" {
				t.Fatal("the vector has no signature")
			}
			token := file.Signing.Input + "." + file.Signing.Signature
			if tc.detached {
				token = token[:strings.Index(token, ".")+1] + token[strings.LastIndex(token, "."):]
			}
			public := map[string]any{"alg": file.Input.Algorithm}
			for _, member := range []string{"kty", "kid", "crv", "x", "y", "n", "e", "k"} {
				if value, present := file.Input.Key[member]; present {
					public[member] = value
				}
			}
			err := accepts(must(json.Marshal(public)), token)
			if got := err == nil; got != tc.want {
				t.Errorf("got %t (%v), want %t", got, err, tc.want)
			}
		})
	}
}
