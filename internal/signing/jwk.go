package signing

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/lestrrat-go/jwx/v2/jwk"
)

// privateJWK are the members of a private JWK (RFC 7518 section 6, RFC 8037) of the kinds that we make.
type privateJWK struct {
	Algorithm string `json:"alg"`
	Curve     string `json:"crv,omitempty"`
	D         string `json:"d,omitempty"`
	DP        string `json:"dp,omitempty"`
	DQ        string `json:"dq,omitempty"`
	E         string `json:"e,omitempty"`
	K         string `json:"k,omitempty"`
	ID        string `json:"kid"`
	Type      string `json:"kty"`
	N         string `json:"n,omitempty"`
	P         string `json:"p,omitempty"`
	Q         string `json:"q,omitempty"`
	QI        string `json:"qi,omitempty"`
	X         string `json:"x,omitempty"`
	Y         string `json:"y,omitempty"`
}

func (k *Key) jwk() (privateJWK, error) {
	raw, err := jwk.FromRaw(k.private)
	if err != nil {
		return privateJWK{}, fmt.Errorf("writing key %q as a JWK: %w", k.ID(), err)
	}
	text, err := json.Marshal(raw)
	if err != nil {
		return privateJWK{}, fmt.Errorf("writing key %q as a JWK: %w", k.ID(), err)
	}
	var j privateJWK
	if err := json.Unmarshal(text, &j); err != nil {
		return privateJWK{}, fmt.Errorf("writing key %q as a JWK: %w", k.ID(), err)
	}
	j.Algorithm, j.ID = k.Algorithm(), k.ID()
	return j, nil
}

// key reads the key back, and takes nothing but what jwk wrote: both halves must belong together and to the id. What jwx has to say about a
// key that it cannot read is left out of the error, because it may quote the key.
func (j privateJWK) key() (*Key, error) {
	text, err := json.Marshal(j)
	if err != nil {
		return nil, errors.New("cannot be read")
	}
	parsed, err := jwk.ParseKey(text)
	if err != nil {
		return nil, errors.New("cannot be read")
	}
	var private any
	if err = parsed.Raw(&private); err != nil {
		return nil, errors.New("cannot be read")
	}
	if !whole(private) {
		return nil, errors.New("is not a private key whose halves belong together")
	}
	key, err := newKey(j.Algorithm, private)
	if err != nil {
		return nil, err
	}
	if key.ID() != j.ID {
		return nil, fmt.Errorf("kid: is not the key's thumbprint, %s", key.ID())
	}
	return key, nil
}

func whole(private any) bool {
	switch private := private.(type) {
	case *ecdsa.PrivateKey:
		secret, err := private.ECDH()
		if err != nil {
			return false
		}
		public, err := private.PublicKey.ECDH()
		return err == nil && secret.PublicKey().Equal(public)
	case *rsa.PrivateKey:
		return private.Validate() == nil
	case ed25519.PrivateKey:
		return len(private) == ed25519.PrivateKeySize && private.Equal(ed25519.NewKeyFromSeed(private.Seed()))
	case []byte:
		return true
	default:
		return false
	}
}
