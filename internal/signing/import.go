package signing

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/latchkey-dev/latchkey/internal/keyset"
	"github.com/latchkey-dev/latchkey/internal/rotation"
)

// Import makes a ring of one private key from elsewhere, in PEM: PKCS #8, SEC 1 or PKCS #1. It signs from now on, under its thumbprint. keyID is the id
// under which it has signed so far, "" for none or the same: tokens that carry it verify for as long as those of a key that retires now. algorithm
// decides what the key itself leaves open: RS256 to PS512 for RSA, the name for Ed25519; "" is RS256, EdDSA, or that of the curve. Errors quote nothing of
// the key.
func Import(text []byte, keyID, algorithm string, now time.Time) (*Ring, error) {
	private, err := parsePEM(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", PrivateFile, err)
	}
	if algorithm == "" {
		algorithm = usualAlgorithm(private)
	}
	key, err := newKey(algorithm, private)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", PrivateFile, err)
	}
	now = now.UTC().Round(0)
	meta := rotation.Ring{{
		ID: key.ID(), Algorithm: key.Algorithm(), Bits: key.Bits(),
		Phase: rotation.Active, PublishedAt: now, ActivatedAt: now, ActivatedBy: rotation.Imported,
	}}
	if keyID == "" || keyID == key.ID() {
		return (*Ring)(nil).With(1, meta, key)
	}
	public, err := keyset.New(keyID, key.Algorithm(), publicHalf(private), time.Time{})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", KeyIDFile, err)
	}
	former := meta[0]
	former.ID, former.Phase, former.RetiredAt = keyID, rotation.Retiring, now
	return (*Ring)(nil).With(1, append(rotation.Ring{former}, meta...), key, &Key{public: public, alias: true})
}

func parsePEM(text []byte) (any, error) {
	block, rest := pem.Decode(text)
	if block == nil {
		return nil, errors.New("is missing, or not PEM")
	}
	if strings.TrimSpace(string(rest)) != "" {
		return nil, errors.New("holds more than one private key in PEM")
	}
	var private any
	var err error
	switch block.Type {
	case "PRIVATE KEY":
		private, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		private, err = x509.ParseECPrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		private, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	default:
		return nil, errors.New("is no private key as PKCS #8, SEC 1 or PKCS #1, without a password")
	}
	if err != nil || !whole(private) {
		return nil, errors.New("cannot be read as a private key of a kind that signs")
	}
	return private, nil
}

func usualAlgorithm(private any) string {
	switch private := private.(type) {
	case *rsa.PrivateKey:
		return "RS256"
	case ed25519.PrivateKey:
		return "EdDSA"
	case *ecdsa.PrivateKey:
		return map[elliptic.Curve]string{elliptic.P256(): "ES256", elliptic.P384(): "ES384", elliptic.P521(): "ES512"}[private.Curve]
	}
	return ""
}
