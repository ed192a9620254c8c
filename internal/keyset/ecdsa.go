package keyset

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"math/big"

	"filippo.io/nistec"
)

// checkECDSA goes by the key's curve.
func (a algorithm) checkECDSA(key *ecdsa.PublicKey) check {
	switch a.curve {
	case elliptic.P256():
		return checkCurve(a, key, nistec.NewP256Point)
	case elliptic.P384():
		return checkCurve(a, key, nistec.NewP384Point)
	case elliptic.P521():
		return checkCurve(a, key, nistec.NewP521Point)
	default:
		return refuse
	}
}

// A weierstrassPoint is a point of one of the curves of FIPS 186, as filippo.io/nistec has it.
type weierstrassPoint[P any] interface {
	point[P]
	SetBytes(encoded []byte) (P, error)
	ScalarBaseMult(number []byte) (P, error)
	BytesX() ([]byte, error)
}

// checkCurve takes r and s side by side, each as long as the curve's numbers (RFC 7518 section 3.4), and computes the point that they lead to, of which r has to be the
// x coordinate (FIPS 186-5 section 6.4.2). Of the key's point everything is prepared here that takes no signature (ADR 22).
func checkCurve[P weierstrassPoint[P]](a algorithm, key *ecdsa.PublicKey, newPoint func() P) check {
	encoded, err := key.Bytes()
	if err != nil {
		return refuse
	}
	q, err := newPoint().SetBytes(encoded)
	if err != nil {
		return refuse
	}
	size, order := a.coordinate(), a.curve.Params().N
	multiples := multiplesOf(q, size, newPoint)
	inRange := func(number *big.Int) bool { return number.Sign() > 0 && number.Cmp(order) < 0 }
	return func(signingInput, signature []byte) bool {
		if len(signature) != 2*size {
			return false
		}
		r, s := new(big.Int).SetBytes(signature[:size]), new(big.Int).SetBytes(signature[size:])
		if !inRange(r) || !inRange(s) {
			return false
		}
		inverse := s.ModInverse(s, order)
		overS := func(number *big.Int) []byte {
			product := new(big.Int).Mul(number, inverse)
			return product.Mod(product, order).FillBytes(make([]byte, size))
		}
		// No hash of these algorithms has more bits than its curve's order: nothing of it is cut off.
		point, err := newPoint().ScalarBaseMult(overS(new(big.Int).SetBytes(a.digest(signingInput))))
		if err != nil {
			return false
		}
		x, err := point.Add(point, multiples.times(overS(r))).BytesX() // fails at infinity
		if err != nil {
			return false
		}
		number := new(big.Int).SetBytes(x)
		return number.Mod(number, order).Cmp(r) == 0
	}
}
