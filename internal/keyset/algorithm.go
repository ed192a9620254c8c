package keyset

import (
	"crypto"
	"crypto/elliptic"
	"slices"
)

// An algorithm is one JWS algorithm (RFC 7518 section 3.1, RFC 8037) and what its keys look like.
type algorithm struct {
	name  string
	kty   string         // the key type that goes with it
	crv   string         // the curve that goes with it, for EC and OKP
	curve elliptic.Curve // for EC
	hash  crypto.Hash    // none for EdDSA. A key for HS is at least as long as it (RFC 7518 section 3.2)
	pss   bool           // RSASSA-PSS, not PKCS #1 v1.5
}

var algorithms = []algorithm{
	{name: "ES256", kty: "EC", crv: "P-256", curve: elliptic.P256(), hash: crypto.SHA256},
	{name: "ES384", kty: "EC", crv: "P-384", curve: elliptic.P384(), hash: crypto.SHA384},
	{name: "ES512", kty: "EC", crv: "P-521", curve: elliptic.P521(), hash: crypto.SHA512},
	{name: "RS256", kty: "RSA", hash: crypto.SHA256},
	{name: "RS384", kty: "RSA", hash: crypto.SHA384},
	{name: "RS512", kty: "RSA", hash: crypto.SHA512},
	{name: "PS256", kty: "RSA", hash: crypto.SHA256, pss: true},
	{name: "PS384", kty: "RSA", hash: crypto.SHA384, pss: true},
	{name: "PS512", kty: "RSA", hash: crypto.SHA512, pss: true},
	{name: "EdDSA", kty: "OKP", crv: "Ed25519"},
	{name: "HS256", kty: "oct", hash: crypto.SHA256},
	{name: "HS384", kty: "oct", hash: crypto.SHA384},
	{name: "HS512", kty: "oct", hash: crypto.SHA512},
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

// coordinate is how many bytes a number of the curve takes.
func (a algorithm) coordinate() int { return (a.curve.Params().BitSize + 7) / 8 }
