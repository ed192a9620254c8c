package keyset

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha512"
	"errors"
	"slices"

	"filippo.io/edwards25519"
)

// An edwardsPoint is a point of Ed25519's curve.
type edwardsPoint struct{ *edwards25519.Point }

func newEdwardsPoint() edwardsPoint { return edwardsPoint{edwards25519.NewIdentityPoint()} }

func (p edwardsPoint) Add(a, b edwardsPoint) edwardsPoint {
	p.Point.Add(a.Point, b.Point)
	return p
}

func (p edwardsPoint) Double(a edwardsPoint) edwardsPoint { return p.Add(a, a) }

// edwardsPointOf returns the point that the key spells, of which there is one spelling (RFC 8032 section 5.1.3); SetBytes takes others too.
func edwardsPointOf(key ed25519.PublicKey) (edwardsPoint, error) {
	p, err := new(edwards25519.Point).SetBytes(key)
	if err != nil || !bytes.Equal(p.Bytes(), key) {
		return edwardsPoint{}, errors.New("x: spells no point of the curve")
	}
	if new(edwards25519.Point).MultByCofactor(p).Equal(edwards25519.NewIdentityPoint()) == 1 {
		return edwardsPoint{}, errors.New("x: is a point of small order, with which anybody can sign")
	}
	return edwardsPoint{p}, nil
}

// checkEd25519 computes the point R that the other half of the signature leads to, and compares it with the half that spells it (RFC 8032 section 5.1.7, without
// the cofactor, as crypto/ed25519 does). p is the key's point, of which everything is prepared here that takes no signature (ADR 22).
func checkEd25519(key ed25519.PublicKey, p edwardsPoint) check {
	multiples := multiplesOf(edwardsPoint{new(edwards25519.Point).Negate(p.Point)}, ed25519.PublicKeySize, newEdwardsPoint)
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
		number := k.Bytes()
		slices.Reverse(number) // little-endian here
		point := new(edwards25519.Point).ScalarBaseMult(s)
		return bytes.Equal(point.Add(point, multiples.times(number).Point).Bytes(), spelled)
	}
}
