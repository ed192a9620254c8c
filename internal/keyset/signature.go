package keyset

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"sync"

	"filippo.io/bigmod"
	"filippo.io/edwards25519"
)

// A check reports whether signature is that of a key over signingInput.
type check func(signingInput, signature []byte) bool

// check returns what checks signatures of the algorithm with the key that material is: an *ecdsa.PublicKey, an *rsa.PublicKey, an ed25519.PublicKey,
// or the []byte of an HS key.
func (a algorithm) check(material any) (check, error) {
	switch key := material.(type) {
	case *ecdsa.PublicKey:
		return a.checkECDSA(key), nil
	case *rsa.PublicKey:
		if a.pss {
			return a.checkPSS(key), nil
		}
		return whenNeeded(func() check { return a.checkPKCS1(key) }), nil
	case ed25519.PublicKey:
		return checkEd25519(key)
	case []byte:
		return a.checkHMAC(key), nil
	default:
		return nil, fmt.Errorf("kty: is read as an unexpected %T", material)
	}
}

// whenNeeded prepares a check with the first signature. Who publishes 128 keys of 8192 bits would have everybody who reads them compute for 0.1 s, and managers
// check nothing with them.
func whenNeeded(prepare func() check) check {
	prepared := sync.OnceValue(prepare)
	return func(signingInput, signature []byte) bool { return prepared()(signingInput, signature) }
}

// checkECDSA takes r and s side by side, each as long as the curve's numbers (RFC 7518 section 3.4).
func (a algorithm) checkECDSA(key *ecdsa.PublicKey) check {
	size := a.coordinate()
	return func(signingInput, signature []byte) bool {
		if len(signature) != 2*size {
			return false
		}
		return ecdsa.VerifyASN1(key, a.digest(signingInput), asn1Signature(signature[:size], signature[size:]))
	}
}

// checkPSS takes a salt as long as the hash and no other (RFC 7518 section 3.5).
func (a algorithm) checkPSS(key *rsa.PublicKey) check {
	options := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}
	return func(signingInput, signature []byte) bool {
		return rsa.VerifyPSS(key, a.hash, a.digest(signingInput), signature, options) == nil
	}
}

// digestInfos come before the digest in what RSASSA-PKCS1-v1_5 signs (RFC 8017 section 9.2, note 1).
var digestInfos = map[crypto.Hash][]byte{
	crypto.SHA256: {0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20},
	crypto.SHA384: {0x30, 0x41, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02, 0x05, 0x00, 0x04, 0x30},
	crypto.SHA512: {0x30, 0x51, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03, 0x05, 0x00, 0x04, 0x40},
}

// checkPKCS1 raises the signature to the key's exponent and compares the result with the one message that may stand there, byte for byte: nothing of it is
// parsed (RFC 8017 section 8.2.2). What depends on the modulus alone is computed here, once, and not with every signature as crypto/rsa does (ADR 22).
func (a algorithm) checkPKCS1(key *rsa.PublicKey) check {
	modulus, err := bigmod.NewModulus(key.N.Bytes())
	if err != nil { // it is 0 or 1: nobody signs with it
		return func(_, _ []byte) bool { return false }
	}
	size, exponent := modulus.Size(), uint(key.E)
	padded := append([]byte{0, 1}, bytes.Repeat([]byte{0xff}, size-len(digestInfos[a.hash])-a.hash.Size()-3)...)
	padded = append(append(padded, 0), digestInfos[a.hash]...)
	return func(signingInput, signature []byte) bool {
		if len(signature) != size {
			return false
		}
		number, err := bigmod.NewNat().SetBytes(signature, modulus) // fails if it is not below the modulus
		if err != nil {
			return false
		}
		message := bigmod.NewNat().ExpShortVarTime(number, exponent, modulus).Bytes(modulus)
		return bytes.Equal(message[:len(padded)], padded) && bytes.Equal(message[len(padded):], a.digest(signingInput))
	}
}

// checkEd25519 computes the point R that the other half of the signature leads to, and compares it with the half that spells it (RFC 8032 section 5.1.7, without
// the cofactor, as crypto/ed25519 does). The key's point is computed here, once, and not with every signature as crypto/ed25519 does (ADR 22).
func checkEd25519(key ed25519.PublicKey) (check, error) {
	point, err := new(edwards25519.Point).SetBytes(key)
	if err != nil {
		return nil, errors.New("x: the point is not on the curve")
	}
	if new(edwards25519.Point).MultByCofactor(point).Equal(edwards25519.NewIdentityPoint()) == 1 {
		return nil, errors.New("x: is a point of small order, with which anybody can sign")
	}
	negative := new(edwards25519.Point).Negate(point)
	return func(signingInput, signature []byte) bool {
		if len(signature) != ed25519.SignatureSize {
			return false
		}
		spelled, half := signature[:32], signature[32:]
		s, err := new(edwards25519.Scalar).SetCanonicalBytes(half) // fails if it is not below the group's order
		if err != nil {
			return false
		}
		hash := sha512.New()
		hash.Write(spelled)
		hash.Write(key)
		hash.Write(signingInput)
		k, err := new(edwards25519.Scalar).SetUniformBytes(hash.Sum(nil))
		if err != nil {
			return false
		}
		return bytes.Equal(new(edwards25519.Point).VarTimeDoubleScalarBaseMult(k, negative, s).Bytes(), spelled)
	}, nil
}

func (a algorithm) checkHMAC(secret []byte) check {
	return func(signingInput, signature []byte) bool {
		mac := hmac.New(a.hash.New, secret)
		mac.Write(signingInput)
		return hmac.Equal(mac.Sum(nil), signature)
	}
}

// digest is the hash of the algorithm over data.
func (a algorithm) digest(data []byte) []byte {
	if a.hash == crypto.SHA256 { // nearly always, and cheaper so
		sum := sha256.Sum256(data)
		return sum[:]
	}
	hash := a.hash.New()
	hash.Write(data)
	return hash.Sum(nil)
}

// asn1Signature writes r and s, big-endian, as crypto/ecdsa reads them: a sequence of two integers in DER.
func asn1Signature(r, s []byte) []byte {
	const integer, sequence, most = 0x02, 0x30, 3 + 2*(3+66) // with two numbers of P-521
	integers := make([]byte, 0, most)
	for _, number := range [...][]byte{r, s} {
		number = bytes.TrimLeft(number, "\x00")
		if len(number) > 0 && number[0] >= 0x80 { // it would be negative
			number = append([]byte{0}, number...)
		}
		integers = appendElement(integers, integer, number)
	}
	return appendElement(make([]byte, 0, most), sequence, integers)
}

func appendElement(to []byte, tag byte, contents []byte) []byte {
	length := byte(len(contents)) //nolint:gosec // of a whole signature it is less than most
	if length < 0x80 {
		return append(append(to, tag, length), contents...)
	}
	return append(append(to, tag, 0x81, length), contents...)
}
