// Package verify turns a bearer token into claims, on one strict path that no option weakens: our own envelope around the key's own signature
// check, then the claims (RFC 7515, RFC 7519, RFC 8725, RFC 9068). It knows issuers, tokens and the time that it is told, not requests, policies,
// revocation, or where keys come from. Between two tokens it keeps nothing but how a few headers read.
package verify
