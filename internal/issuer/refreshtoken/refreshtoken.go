// Package refreshtoken owns the form of refresh tokens. It knows bytes and an HMAC, not what a session may do.
//
// A token is base64url(version | session id | counter | HMAC-SHA256(session secret, all before)): 57 bytes, 76 characters. It says which
// session it is of, so one look-up by primary key finds the secret to check it with, and how many refreshes came before it. Nothing of it
// is stored, and the successor of a token can be made again at any time, so whoever asks twice gets the same.
package refreshtoken

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/latchkey-dev/latchkey/internal/base64url"
	"github.com/latchkey-dev/latchkey/internal/issuer/store"
)

const (
	version = 1

	sessionAt = 1
	counterAt = sessionAt + 16
	tagAt     = counterAt + 8
	size      = tagAt + sha256.Size

	// Length of a token in characters.
	Length = (size*8 + 5) / 6
)

// purpose keeps this use of a session's secret apart from any other that may come.
const purpose = "latchkey refresh token\x00"

// Claimed is what a token says before anything of it has been checked. It holds the token, so it cannot be printed.
type Claimed struct {
	raw [size]byte
}

// errMalformed says nothing of what was read, for it may be a token with a slip of the hand in it.
var errMalformed = errors.New("not a refresh token")

// Parse takes a token apart. Every token has one spelling.
func Parse(text string) (Claimed, error) {
	if len(text) != Length {
		return Claimed{}, errMalformed
	}
	raw, err := base64url.Decode(text)
	if err != nil || len(raw) != size || raw[0] != version || raw[counterAt]&0x80 != 0 {
		return Claimed{}, errMalformed
	}
	return Claimed{raw: [size]byte(raw)}, nil
}

// Session is the session that the token claims to be of.
func (c Claimed) Session() store.SessionID { return store.SessionID(c.raw[sessionAt:counterAt]) }

// Counter is the token's place among those of its session: 1 at sign-in. It means nothing unless Authentic.
func (c Claimed) Counter() int64 {
	return int64(binary.BigEndian.Uint64(c.raw[counterAt:tagAt])) //nolint:gosec // Parse takes no token whose highest bit is set
}

// Authentic reports whether whoever made the token had the session's secret: that is us.
func (c Claimed) Authentic(secret store.Secret) bool {
	return hmac.Equal(c.raw[tagAt:], tag(secret, c.raw[:tagAt]))
}

// Make returns the token of a session that has this counter.
func Make(id store.SessionID, secret store.Secret, counter int64) string {
	raw := make([]byte, 0, size)
	raw = append(raw, version)
	raw = append(raw, id[:]...)
	raw = binary.BigEndian.AppendUint64(raw, uint64(counter)) //nolint:gosec // counters begin at 1
	raw = append(raw, tag(secret, raw)...)
	return base64url.Encode(raw)
}

func tag(secret store.Secret, message []byte) []byte {
	mac := hmac.New(sha256.New, secret[:])
	mac.Write([]byte(purpose))
	mac.Write(message)
	return mac.Sum(nil)
}

const redacted = "[redacted]"

// String hides the token.
func (Claimed) String() string { return redacted }

// Format hides the token from every verb.
func (Claimed) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalText hides the token, also from JSON.
func (Claimed) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue hides the token.
func (Claimed) LogValue() slog.Value { return slog.StringValue(redacted) }
