// Package base64url reads and writes the one spelling of base64url that JOSE allows (RFC 7515 section 2: URL alphabet, no padding,
// no white space, no stray bits at the end). It knows bytes and text, not what they mean.
package base64url

import (
	"bytes"
	"encoding/base64"
	"errors"
)

// ErrNotCanonical says that a text is not the one base64url spelling of any bytes.
var ErrNotCanonical = errors.New("not canonical base64url")

var strict = base64.RawURLEncoding.Strict()

// Encode returns the base64url spelling of data.
func Encode(data []byte) string { return strict.EncodeToString(data) }

// AppendEncode is Encode that appends to dst.
func AppendEncode(dst, data []byte) []byte { return strict.AppendEncode(dst, data) }

// EncodedLen is how long the spelling of so many bytes is.
func EncodedLen(n int) int { return strict.EncodedLen(n) }

// Decode returns the bytes that text spells. For any bytes there is exactly one text that Decode takes, so whoever compares texts compares
// bytes.
func Decode(text string) ([]byte, error) { return AppendDecode(nil, []byte(text)) }

// AppendDecode is Decode that appends to dst. (Go's decoder skips CR and LF even when it is strict; this one refuses them. Its errors
// would quote the input, which may be secret.)
func AppendDecode(dst, text []byte) ([]byte, error) {
	if bytes.IndexByte(text, '\n') >= 0 || bytes.IndexByte(text, '\r') >= 0 {
		return nil, ErrNotCanonical
	}
	data, err := strict.AppendDecode(dst, text)
	if err != nil {
		return nil, ErrNotCanonical
	}
	return data, nil
}
