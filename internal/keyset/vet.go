package keyset

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"unicode"
	"unicode/utf8"

	"github.com/latchkey-dev/latchkey/internal/base64url"
)

const (
	maxIDBytes  = 256
	minRSABits  = 2048 // RFC 7518 section 3.3
	maxRSABits  = 8192 // checking a signature costs the square of this, and others choose the key
	minExponent = 65537
	maxExponent = 1<<31 - 1
	maxSecret   = 1024
)

func vetID(id string) error {
	if len(id) > maxIDBytes {
		return fmt.Errorf("kid: is longer than %d bytes", maxIDBytes)
	}
	for _, r := range id {
		if r == utf8.RuneError || !unicode.IsGraphic(r) {
			return errors.New("kid: holds what cannot be printed")
		}
	}
	return nil
}

func decode(name, text string) ([]byte, error) {
	if text == "" {
		return nil, fmt.Errorf("%s: is missing", name)
	}
	data, err := base64url.Decode(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return data, nil
}

// decodeInteger returns the bytes of a number, of which there is one spelling (Base64urlUInt, RFC 7518 section 2).
func decodeInteger(name, text string) ([]byte, error) {
	data, err := decode(name, text)
	if err == nil && data[0] == 0 {
		err = fmt.Errorf("%s: begins with a zero byte", name)
	}
	return data, err
}

func (m members) vetEC(alg algorithm) error {
	size := alg.coordinate()
	for _, c := range []struct{ name, text string }{{"x", m.X}, {"y", m.Y}} {
		data, err := decode(c.name, c.text)
		if err != nil {
			return err
		}
		if len(data) != size {
			return fmt.Errorf("%s: is %d bytes long; %s wants %d", c.name, len(data), m.Curve, size)
		}
	}
	return nil
}

func (m members) vetOKP() error {
	data, err := decode("x", m.X)
	if err == nil && len(data) != 32 {
		err = fmt.Errorf("x: is %d bytes long; %s wants 32", len(data), m.Curve)
	}
	return err
}

func (m members) vetRSA() error {
	data, err := decodeInteger("n", m.Modulus)
	if err != nil {
		return err
	}
	modulus := new(big.Int).SetBytes(data)
	switch bits := modulus.BitLen(); {
	case bits < minRSABits:
		return fmt.Errorf("n: is %d bits long; an RSA key needs at least %d", bits, minRSABits)
	case bits > maxRSABits:
		return fmt.Errorf("n: is %d bits long; at most %d are taken", bits, maxRSABits)
	case modulus.Bit(0) == 0:
		return errors.New("n: is even, so it is no RSA modulus")
	case hasROCAFingerprint(modulus):
		return errors.New("n: was made by a generator whose keys can be factored (ROCA, CVE-2017-15361)")
	}

	data, err = decodeInteger("e", m.Exponent)
	if err != nil {
		return err
	}
	if len(data) > 4 {
		return fmt.Errorf("e: is greater than %d", maxExponent)
	}
	exponent := binary.BigEndian.Uint32(append(make([]byte, 4-len(data), 4), data...))
	if exponent < minExponent || exponent > maxExponent || exponent%2 == 0 {
		return fmt.Errorf("e: is %d; an odd number from %d to %d is wanted", exponent, minExponent, maxExponent)
	}
	return nil
}

func (m members) vetSecret(alg algorithm) error {
	data, err := decode("k", m.Secret)
	if err != nil {
		return err
	}
	if len(data) < alg.hash.Size() || len(data) > maxSecret {
		return fmt.Errorf("k: is %d bytes long; %s wants %d to %d", len(data), alg.name, alg.hash.Size(), maxSecret)
	}
	return nil
}

// rocaPrimes are small primes modulo which every modulus of the vulnerable generator is a power of 65537; of the others one in 2^27 is (Nemec
// and others, "The Return of Coppersmith's Attack", 2017).
var rocaPrimes = []uint64{11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157}

func hasROCAFingerprint(modulus *big.Int) bool {
	for _, p := range rocaPrimes {
		residue := new(big.Int).Mod(modulus, new(big.Int).SetUint64(p)).Uint64()
		if !isPowerOf65537(residue, p) {
			return false
		}
	}
	return true
}

func isPowerOf65537(residue, p uint64) bool {
	power := uint64(1)
	for {
		if power == residue {
			return true
		}
		if power = power * 65537 % p; power == 1 {
			return false
		}
	}
}
