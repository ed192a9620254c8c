package signing

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jwk"
	"github.com/lestrrat-go/jwx/v2/jws"

	"github.com/latchkey-dev/latchkey/internal/base64url"
	"github.com/latchkey-dev/latchkey/internal/keyset"
)

const redacted = "[redacted]"

// Key signs tokens, or has signed some: then there is no private half any more. It is immutable and safe for use by many goroutines.
type Key struct {
	private any        // *ecdsa.PrivateKey, *rsa.PrivateKey, ed25519.PrivateKey, or the []byte of an HS key; nil: not there
	signer  jws.Signer // nil where private is
	half    any        // private, as signer takes it
	public  *keyset.Key
	alias   bool // its id is not its thumbprint, but one that it had elsewhere
}

// Generate makes a new key. rsaBits is 2048, 3072 or 4096, or 0 for 2048, and only for RS and PS algorithms. Secrets of HS algorithms are as
// long as the hash (RFC 7518 section 3.2).
func Generate(algorithm string, rsaBits int) (*Key, error) {
	private, err := generate(algorithm, rsaBits)
	if err != nil {
		return nil, fmt.Errorf("generating a key for %s: %w", algorithm, err)
	}
	return newKey(algorithm, private)
}

func generate(algorithm string, rsaBits int) (any, error) {
	switch algorithm {
	case "ES256":
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ES384":
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "ES512":
		return ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case "RS256", "RS384", "RS512", "PS256", "PS384", "PS512":
		switch rsaBits {
		case 0:
			rsaBits = 2048
		case 2048, 3072, 4096:
		default:
			return nil, fmt.Errorf("an RSA key has 2048, 3072 or 4096 bits, not %d", rsaBits)
		}
		return rsa.GenerateKey(rand.Reader, rsaBits)
	case "EdDSA", "Ed25519":
		_, private, err := ed25519.GenerateKey(rand.Reader)
		return private, err
	case "HS256":
		return secret(32), nil
	case "HS384":
		return secret(48), nil
	case "HS512":
		return secret(64), nil
	default:
		return nil, errors.New("no such algorithm")
	}
}

func secret(length int) []byte {
	s := make([]byte, length)
	_, _ = rand.Read(s) // never fails: it ends the process instead
	return s
}

// newKey gives a key its id: the thumbprint of its public half (RFC 7638), or for HS algorithms, of the secret, which tells nothing about 32 and
// more random bytes.
func newKey(algorithm string, private any) (*Key, error) {
	public := publicHalf(private)
	raw, err := jwk.FromRaw(public)
	if err != nil {
		return nil, fmt.Errorf("no key id can be made: %w", err)
	}
	thumbprint, err := thumbprintOf(raw)
	if err != nil {
		return nil, err
	}
	key, err := keyset.New(thumbprint, algorithm, public, time.Time{})
	if err != nil {
		return nil, err
	}
	signer, err := jws.NewSigner(jwa.SignatureAlgorithm(key.Algorithm()))
	if err != nil {
		return nil, fmt.Errorf("no signer for %s: %w", key.Algorithm(), err)
	}
	return &Key{private: private, signer: signer, half: halfFor(private), public: key}, nil
}

// halfFor hides from jwx what kind of key an ECDSA key is. Else it works with a copy for each signature, and crypto/ecdsa, which remembers what it has made of a
// key by where that is, makes it anew.
func halfFor(private any) any {
	if key, ok := private.(*ecdsa.PrivateKey); ok {
		return struct{ crypto.Signer }{key}
	}
	return private
}

func publicHalf(private any) any {
	if signer, ok := private.(crypto.Signer); ok {
		return signer.Public()
	}
	return private
}

func thumbprintOf(key jwk.Key) (string, error) {
	thumbprint, err := key.Thumbprint(crypto.SHA256)
	if err != nil {
		return "", fmt.Errorf("no key id can be made: %w", err)
	}
	return base64url.Encode(thumbprint), nil
}

// Signs says whether the key's private half is there.
func (k *Key) Signs() bool { return k.private != nil }

// ID returns the kid that the key's tokens carry.
func (k *Key) ID() string { return k.public.ID() }

// Algorithm returns the one algorithm that the key is for, by the name that it was made for: "Ed25519" and "EdDSA" are one.
func (k *Key) Algorithm() string { return k.public.PublishedAlgorithm() }

// Bits returns the size of an RSA key, and 0 for the others.
func (k *Key) Bits() int {
	if private, ok := k.private.(*rsa.PrivateKey); ok {
		return private.N.BitLen()
	}
	return 0
}

// Public returns what checks the key's signatures until notAfter (zero: without end). For HS algorithms that is the secret itself.
func (k *Key) Public(notAfter time.Time) *keyset.Key { return k.public.Until(notAfter) }

// room is what Sign keeps free for the signature and two dots. The long ones of RSA keys take another piece of memory.
const room = 144

// Sign returns claims, the JSON text of an object, as a token: a compact JWS (RFC 7515 section 7.1) with the headers alg, kid and typ.
func (k *Key) Sign(typ string, claims []byte) (string, error) {
	header, err := json.Marshal(struct {
		Algorithm string `json:"alg"`
		KeyID     string `json:"kid"`
		Type      string `json:"typ,omitempty"`
	}{k.Algorithm(), k.ID(), typ})
	if err != nil {
		return "", fmt.Errorf("writing a token's header: %w", err)
	}
	token := make([]byte, 0, base64url.EncodedLen(len(header)+len(claims)+room))
	token = append(base64url.AppendEncode(token, header), '.')
	token = base64url.AppendEncode(token, claims)
	signature, err := k.signer.Sign(token, k.half)
	if err != nil {
		return "", fmt.Errorf("signing with key %q: %w", k.ID(), err)
	}
	return string(base64url.AppendEncode(append(token, '.'), signature)), nil
}

// PrivatePEM returns the private key as PKCS #8 in PEM, which any server can read, and nil for HS algorithms, which have no such form.
func (k *Key) PrivatePEM() []byte {
	if _, symmetric := k.private.([]byte); symmetric {
		return nil
	}
	der, err := x509.MarshalPKCS8PrivateKey(k.private)
	if err != nil {
		panic(err) // it takes every type that generate makes
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// String shows nothing. (It and its kin take the key by value, so that a copy cannot be printed either.)
func (k Key) String() string { return redacted }

// Format shows nothing, whatever the verb: without it %d would print the bytes of a secret.
func (k Key) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue shows nothing.
func (k Key) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON shows nothing.
func (k Key) MarshalJSON() ([]byte, error) { return json.Marshal(redacted) }
