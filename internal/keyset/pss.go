package keyset

import (
	"crypto"
	"crypto/rsa"
	_ "crypto/sha256" // registers crypto.SHA256
	_ "crypto/sha512" // registers crypto.SHA384 and crypto.SHA512
	"fmt"
)

// pssVerifier checks RSASSA-PSS with the salt as long as the hash, as RFC 7518 section 3.5 has it. jwx's own takes a salt of any length.
type pssVerifier crypto.Hash

func (v pssVerifier) Verify(signingInput, signature []byte, material any) error {
	public, ok := material.(*rsa.PublicKey)
	if !ok {
		return fmt.Errorf("not an RSA key but a %T", material)
	}
	hash := crypto.Hash(v)
	digest := hash.New()
	digest.Write(signingInput)
	return rsa.VerifyPSS(public, hash, digest.Sum(nil), signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
}
