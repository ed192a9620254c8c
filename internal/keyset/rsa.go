package keyset

import (
	"bytes"
	"crypto"
	"crypto/rsa"

	"filippo.io/bigmod"
)

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
		return refuse
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
