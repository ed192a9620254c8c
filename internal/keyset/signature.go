package keyset

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"fmt"
	"sync"
)

// A check reports whether signature is that of a key over signingInput.
type check func(signingInput, signature []byte) bool

// check returns what checks signatures of the algorithm with the key that material is: an *ecdsa.PublicKey, an *rsa.PublicKey, an ed25519.PublicKey,
// or the []byte of an HS key.
func (a algorithm) check(material any) (check, error) {
	switch key := material.(type) {
	case *ecdsa.PublicKey:
		return whenNeeded(func() check { return a.checkECDSA(key) }), nil
	case *rsa.PublicKey:
		if a.pss {
			return a.checkPSS(key), nil
		}
		return whenNeeded(func() check { return a.checkPKCS1(key) }), nil
	case ed25519.PublicKey:
		p, err := edwardsPointOf(key)
		if err != nil {
			return nil, err
		}
		return whenNeeded(func() check { return checkEd25519(key, p) }), nil
	case []byte:
		return a.checkHMAC(key), nil
	default:
		return nil, fmt.Errorf("kty: is read as an unexpected %T", material)
	}
}

// whenNeeded prepares a check with the first signature. Who publishes 128 keys of ES512 would have everybody who reads them compute for 0.1 s, most keys
// of a set are not in use, and managers check nothing with any.
func whenNeeded(prepare func() check) check {
	prepared := sync.OnceValue(prepare)
	return func(signingInput, signature []byte) bool { return prepared()(signingInput, signature) }
}

func refuse(_, _ []byte) bool { return false }

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
