package signing

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwk"

	"github.com/latchkey-dev/latchkey/internal/keyset"
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
	if !k.Signs() {
		return publicJWK(k.public)
	}
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

// publicJWK writes a key without a private half.
func publicJWK(key *keyset.Key) (privateJWK, error) {
	var document struct{ Keys []privateJWK }
	set, err := keyset.NewSet(key.Until(time.Time{}))
	if err != nil {
		return privateJWK{}, fmt.Errorf("writing key %q as a JWK: %w", key.ID(), err)
	}
	text, err := set.Marshal()
	if err != nil {
		return privateJWK{}, fmt.Errorf("writing key %q as a JWK: %w", key.ID(), err)
	}
	if err := json.Unmarshal(text, &document); err != nil {
		return privateJWK{}, fmt.Errorf("writing key %q as a JWK: %w", key.ID(), err)
	}
	return document.Keys[0], nil
}

// VerifyOnly returns a published key as one that has signed and cannot any more, because its private half is lost. Its id must be its thumbprint: then whoever knows
// the id knows that it is this key.
func VerifyOnly(published *keyset.Key) (*Key, error) {
	j, err := publicJWK(published)
	if err != nil {
		return nil, err
	}
	key, err := j.key()
	if err == nil && key.alias {
		err = fmt.Errorf("key %q: its id is not its thumbprint", key.ID())
	}
	return key, err
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
	switch material := private.(type) {
	case *ecdsa.PublicKey, *rsa.PublicKey, ed25519.PublicKey:
		return j.verifyOnly(material)
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

// verifyOnly is key without a private half. Its id may be another than its thumbprint: it is how tokens name it that were signed elsewhere.
func (j privateJWK) verifyOnly(public any) (*Key, error) {
	raw, err := jwk.FromRaw(public)
	if err != nil {
		return nil, errors.New("cannot be read")
	}
	thumbprint, err := thumbprintOf(raw)
	if err != nil {
		return nil, err
	}
	key, err := keyset.New(j.ID, j.Algorithm, public, time.Time{})
	if err != nil {
		return nil, err
	}
	return &Key{public: key, alias: j.ID != thumbprint}, nil
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
