package keyset

import (
	"crypto/ecdsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwk"
)

// Key checks signatures of one algorithm. It is immutable and safe for use by many goroutines.
type Key struct {
	jwk       members
	algorithm string // canonical; jwk has the name that it is published under
	notAfter  time.Time
	check     check
}

// members are those members of a JWK that we read and write, in the order of their names, which is the order of canonical JSON.
type members struct {
	Algorithm string `json:"alg"`
	Curve     string `json:"crv,omitempty"`
	Exponent  string `json:"e,omitempty"`
	NotAfter  int64  `json:"exp,omitempty"` // NumericDate; not registered for JWKs, but what OpenID Federation uses for the same
	Secret    string `json:"k,omitempty"`
	ID        string `json:"kid,omitempty"`
	Type      string `json:"kty"`
	Modulus   string `json:"n,omitempty"`
	Use       string `json:"use"`
	X         string `json:"x,omitempty"`
	Y         string `json:"y,omitempty"`
}

// New returns the key that checks what the private half of material signs. material is an *ecdsa.PublicKey, an *rsa.PublicKey, an
// ed25519.PublicKey, or the []byte of an HS key. notAfter, rounded up to the second, is when the key ends; zero is never.
func New(id, algorithm string, material any, notAfter time.Time) (*Key, error) {
	raw, err := jwk.FromRaw(material)
	if err != nil {
		return nil, fmt.Errorf("no key can be made of a %T: %w", material, err)
	}
	text, err := json.Marshal(raw)
	if err != nil {
		return nil, fmt.Errorf("writing the key as a JWK: %w", err)
	}
	var m members
	if err = json.Unmarshal(text, &m); err != nil {
		return nil, fmt.Errorf("reading the key as a JWK: %w", err)
	}
	m.ID, m.Algorithm = id, algorithm
	key, err := m.key()
	if err != nil {
		return nil, err
	}
	return key.Until(notAfter), nil
}

// key vets the members and makes a key of them. Its errors begin with the name of the member that is wrong.
func (m members) key() (*Key, error) {
	name, ok := CanonicalAlgorithm(m.Algorithm)
	alg, _ := lookupAlgorithm(name)
	if !ok {
		return nil, fmt.Errorf("alg: %q is not an algorithm for signatures that we take", m.Algorithm)
	}
	if alg.kty != m.Type {
		return nil, fmt.Errorf("alg: %s does not go with a key of type %q", name, m.Type)
	}
	if alg.crv != m.Curve {
		return nil, fmt.Errorf("alg: %s does not go with the curve %q", name, m.Curve)
	}
	if err := vetID(m.ID); err != nil {
		return nil, err
	}
	m.Use = "sig"

	material, err := m.material(alg)
	if err != nil {
		return nil, err
	}
	checks, err := alg.check(material)
	if err != nil {
		return nil, err
	}
	key := &Key{jwk: m, algorithm: name, check: checks}
	if m.NotAfter != 0 {
		key.notAfter = time.Unix(m.NotAfter, 0).UTC()
	}
	return key, nil
}

// material returns the key itself, once nothing is wrong with it. jwx sees nothing but the members of the key type, each checked before.
func (m members) material(alg algorithm) (any, error) {
	clean := map[string]string{"kty": m.Type}
	var vet func() error
	switch m.Type {
	case "EC":
		clean["crv"], clean["x"], clean["y"] = m.Curve, m.X, m.Y
		vet = func() error { return m.vetEC(alg) }
	case "OKP":
		clean["crv"], clean["x"] = m.Curve, m.X
		vet = m.vetOKP
	case "RSA":
		clean["n"], clean["e"] = m.Modulus, m.Exponent
		vet = m.vetRSA
	case "oct":
		clean["k"] = m.Secret
		vet = func() error { return m.vetSecret(alg) }
	}
	if err := vet(); err != nil {
		return nil, err
	}

	text, err := json.Marshal(clean)
	if err != nil {
		return nil, fmt.Errorf("kty: %w", err)
	}
	parsed, err := jwk.ParseKey(text)
	if err != nil {
		return nil, errors.New("kty: the key cannot be read") // jwx's error may quote the key, which may be a secret
	}
	var material any
	if err := parsed.Raw(&material); err != nil {
		return nil, errors.New("kty: the key cannot be read")
	}
	if point, ok := material.(*ecdsa.PublicKey); ok {
		if _, err := point.ECDH(); err != nil {
			return nil, errors.New("x: the point is not on the curve")
		}
	}
	return material, nil
}

// ID returns the key's kid. It is empty for the only key of a set whose author gave it none.
func (k *Key) ID() string { return k.jwk.ID }

// Algorithm returns the one algorithm that the key is for, such as ES256, by its canonical name.
func (k *Key) Algorithm() string { return k.algorithm }

// PublishedAlgorithm returns the same by the name that the key is published under: "Ed25519" or "EdDSA" for one algorithm.
func (k *Key) PublishedAlgorithm() string { return k.jwk.Algorithm }

// NotAfter returns the instant from which on nothing that the key signed counts; zero is never.
func (k *Key) NotAfter() time.Time { return k.notAfter }

// Symmetric says whether the key is a shared secret, with which one could also sign.
func (k *Key) Symmetric() bool { return k.jwk.Secret != "" }

// Until returns the same key with another end, rounded up to the second; zero is never.
func (k *Key) Until(notAfter time.Time) *Key {
	other := *k
	other.jwk.NotAfter, other.notAfter = 0, time.Time{}
	if !notAfter.IsZero() {
		other.notAfter = notAfter.UTC().Truncate(time.Second)
		if other.notAfter.Before(notAfter) {
			other.notAfter = other.notAfter.Add(time.Second)
		}
		other.jwk.NotAfter = other.notAfter.Unix()
	}
	return &other
}

// ErrSignature says that a signature was not made by the key over the bytes in question.
var ErrSignature = errors.New("the signature does not match")

// Verify returns nil when signature is the key's over signingInput, and ErrSignature otherwise. An ECDSA signature is r and s side by side (RFC
// 7518 section 3.4), and its twin (r, n-s) counts as well: a signature identifies nothing.
func (k *Key) Verify(signingInput, signature []byte) error {
	if !k.check(signingInput, signature) {
		return ErrSignature
	}
	return nil
}

// String names the key and shows nothing of it. (It and its kin take the key by value, so that a copy cannot be printed either.)
func (k Key) String() string {
	return fmt.Sprintf("key %q (%s) [redacted]", k.jwk.ID, k.jwk.Algorithm)
}

// Format is String, whatever the verb: without it %d would print the members.
func (k Key) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, k.String()) }

// LogValue is String for log/slog.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.String()) }

// MarshalJSON is String: only a Set is written as keys, on purpose.
func (k Key) MarshalJSON() ([]byte, error) { return json.Marshal(k.String()) }
