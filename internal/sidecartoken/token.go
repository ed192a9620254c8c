// Package sidecartoken owns what sidecars show to a token service, so that it believes what they say of clients: the address that they saw.
// The manager makes one for each TokenIssuer and hands it to its token service and, in bundles, to the sidecars of the policies that name it.
package sidecartoken

import (
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"

	"github.com/latchkey-dev/latchkey/internal/base64url"
)

// File is the name of the token in its Secret and in the token service's volume.
const File = "token"

// header carries it. No client's header of that name comes past a sidecar.
const header = "Latchkey-Sidecar"

const size = 32 // bytes

// Token is such a token; the zero Token is none. Whoever has it can make up clients, so it cannot be printed.
type Token struct{ text string }

// New returns a random Token.
func New() Token {
	var raw [size]byte
	rand.Read(raw[:])
	return Token{base64url.Encode(raw[:])}
}

// Parse reads what Encode writes. The error repeats nothing of it.
func Parse(text string) (Token, error) {
	text = strings.TrimSuffix(text, "\n")
	if raw, err := base64url.Decode(text); err != nil || len(raw) != size {
		return Token{}, errors.New("must be 32 bytes in base64url")
	}
	return Token{text}, nil
}

// Encode writes the token out, for its Secret and for bundles.
func (t Token) Encode() string { return t.text }

// IsZero reports whether there is none.
func (t Token) IsZero() bool { return t.text == "" }

// Equal reports whether both are the same.
func (t Token) Equal(other Token) bool {
	return subtle.ConstantTimeCompare([]byte(t.text), []byte(other.text)) == 1
}

// Show puts the token on a request.
func (t Token) Show(to http.Header) {
	if t.text != "" {
		to.Set(header, t.text)
	}
}

// ShownBy reports whether a request carries the token.
func (t Token) ShownBy(from http.Header) bool {
	values := from[header]
	return t.text != "" && len(values) == 1 && subtle.ConstantTimeCompare([]byte(values[0]), []byte(t.text)) == 1
}

const redacted = "[redacted]"

// String hides the token.
func (Token) String() string { return redacted }

// Format hides the token from every verb.
func (Token) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalText hides the token, also from JSON.
func (Token) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue hides the token.
func (Token) LogValue() slog.Value { return slog.StringValue(redacted) }
