// Package keyset owns the public half of keys: reading JSON Web Key Sets (RFC 7517) that anybody may have written, vetting each key, and
// checking signatures with it. It knows keys and algorithms, not tokens, claims, rotation or where a set came from, and it never holds a private
// key. (The secrets of HS algorithms are the exception that RFC 7518 makes: whoever verifies can sign. They are read
// only by ParseSymmetric and never printed.)
package keyset
