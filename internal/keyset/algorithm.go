package keyset

import (
	"crypto"
	"crypto/elliptic"
	"slices"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jws"
)

// An algorithm is one JWS algorithm (RFC 7518 section 3.1, RFC 8037) and what its keys look like.
type algorithm struct {
	name  string
	kty   string         // the key type that goes with it
	crv   string         // the curve that goes with it, for EC and OKP
	curve elliptic.Curve // for EC
	bytes int            // the least length of an HS key: that of the hash (RFC 7518 section 3.2)
	pss   crypto.Hash    // the hash of PS algorithms
}

var algorithms = []algorithm{
	{name: "ES256", kty: "EC", crv: "P-256", curve: elliptic.P256()},
	{name: "ES384", kty: "EC", crv: "P-384", curve: elliptic.P384()},
	{name: "ES512", kty: "EC", crv: "P-521", curve: elliptic.P521()},
	{name: "RS256", kty: "RSA"},
	{name: "RS384", kty: "RSA"},
	{name: "RS512", kty: "RSA"},
	{name: "PS256", kty: "RSA", pss: crypto.SHA256},
	{name: "PS384", kty: "RSA", pss: crypto.SHA384},
	{name: "PS512", kty: "RSA", pss: crypto.SHA512},
	{name: "EdDSA", kty: "OKP", crv: "Ed25519"},
	{name: "HS256", kty: "oct", bytes: 32},
	{name: "HS384", kty: "oct", bytes: 48},
	{name: "HS512", kty: "oct", bytes: 64},
}

// CanonicalAlgorithm returns the name under which algorithms are compared here, and whether this one is known at all. "Ed25519" (RFC 9864) is
// the newer name of EdDSA (RFC 8037) with the one curve that we take. Keys are published under the name that they were given.
func CanonicalAlgorithm(name string) (string, bool) {
	if name == "Ed25519" {
		name = "EdDSA"
	}
	_, ok := lookupAlgorithm(name)
	return name, ok
}

// Algorithms returns the names of all algorithms that keys can be made for.
func Algorithms() []string {
	names := make([]string, len(algorithms))
	for i, a := range algorithms {
		names[i] = a.name
	}
	return names
}

func lookupAlgorithm(name string) (algorithm, bool) {
	i := slices.IndexFunc(algorithms, func(a algorithm) bool { return a.name == name })
	if i < 0 {
		return algorithm{}, false
	}
	return algorithms[i], true
}

// verifier returns what checks signatures of the algorithm.
func (a algorithm) verifier() (jws.Verifier, error) {
	if a.pss != 0 {
		return pssVerifier(a.pss), nil
	}
	return jws.NewVerifier(jwa.SignatureAlgorithm(a.name))
}
