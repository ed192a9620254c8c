// Package store says what the token service keeps about sessions, and what it asks of a database. It decides nothing: it knows neither
// tokens nor lifetimes nor who may do what.
//
// What a store must promise: a method that returns without an error has made its change durable, whole, and visible to every later call;
// one that returns an error or never returns has made it whole or not at all. storetest holds every implementation to it.
package store

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/latchkey-dev/latchkey/internal/base64url"
)

// ErrNotFound says that there is no such session: it never existed, or it has ended.
var ErrNotFound = errors.New("no such session")

// SessionID names a session. It is no secret: access tokens carry it.
type SessionID [16]byte

// NewSessionID returns a random SessionID.
func NewSessionID() (id SessionID) {
	rand.Read(id[:])
	return id
}

// String is the form of the sid claim: base64url.
func (id SessionID) String() string { return base64url.Encode(id[:]) }

// ParseSessionID reads what String writes, and no other spelling of it.
func ParseSessionID(text string) (SessionID, error) {
	raw, err := base64url.Decode(text)
	if err != nil || len(raw) != len(SessionID{}) {
		return SessionID{}, errors.New("not a session id")
	}
	return SessionID(raw), nil
}

// MarshalText is the same form for logs and JSON, which would write the bytes as numbers.
func (id SessionID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// Secret authenticates the refresh tokens of one session. Whoever has it can make them, so it cannot be printed.
type Secret [32]byte

// NewSecret returns a random Secret.
func NewSecret() (s Secret) {
	rand.Read(s[:])
	return s
}

const redacted = "[redacted]"

// String hides the secret.
func (Secret) String() string { return redacted }

// GoString hides the secret.
func (Secret) GoString() string { return redacted }

// Format hides the secret from every verb; without it %x would print the bytes.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalText hides the secret, also from JSON.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue hides the secret.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// Session is one signed-in device of one user.
type Session struct {
	ID          SessionID
	User        string
	Secret      Secret
	Counter     int64     // of the refresh token that is current; 1 at sign-in
	CreatedAt   time.Time // sign-in; kept to the millisecond
	RotatedAt   time.Time // when the current refresh token came to be; kept to the millisecond
	AccessUntil time.Time // no access token of this session expires later; kept to the second
}

// Horizon tells sessions that are over from those that are not: a session is over when it was created or rotated before these times.
type Horizon struct {
	CreatedBefore time.Time
	RotatedBefore time.Time
}

// Revocation says that a session ended while access tokens of it may have been valid.
type Revocation struct {
	Number  int64 // from 1, in the order in which they became visible
	Session SessionID
	Until   time.Time // the session's AccessUntil plus revocation.Leeway
}

// Store keeps sessions and revocations. All methods may be called from many goroutines, and from several processes at once.
//
// Ending a session always means the same two things in one transaction: the session is deleted, and unless its last access token has
// expired anyway, a Revocation with the next number is added.
type Store interface {
	// Create adds a session. In the same transaction it ends sessions of the same user: those behind the horizon, and then the oldest, so
	// that at most limit are left with the new one. It returns the latter.
	Create(ctx context.Context, s Session, limit int, h Horizon) (ended []SessionID, err error)

	// Find returns a session, or ErrNotFound.
	Find(ctx context.Context, id SessionID) (Session, error)

	// Rotate raises the session's counter from counter to the next, sets RotatedAt, and AccessUntil if that is later than what is kept. It
	// reports false, and has changed nothing, when the counter is another by now or the session has ended: of any number of calls with the
	// same counter exactly one reports true.
	Rotate(ctx context.Context, id SessionID, counter int64, rotatedAt, accessUntil time.Time) (bool, error)

	// Extend sets AccessUntil if that is later than what is kept. It reports false when the counter is another by now or the session has
	// ended.
	Extend(ctx context.Context, id SessionID, counter int64, accessUntil time.Time) (bool, error)

	// End ends a session. It reports false when it had ended before.
	End(ctx context.Context, id SessionID, now time.Time) (bool, error)

	// Stream returns the name of this database's stream of revocations, which no other database has, and the last number given out.
	Stream(ctx context.Context) (name string, last int64, err error)

	// Revocations returns up to limit revocations with numbers above after, in ascending order. Once a number has been returned or given
	// out by Stream, no lower one appears.
	Revocations(ctx context.Context, after int64, limit int) ([]Revocation, error)

	// Prune deletes sessions that are behind the horizon and whose access tokens have expired by now, and revocations that have run out by
	// now; at most limit of each, so that others get their turn. It returns how many it deleted.
	Prune(ctx context.Context, h Horizon, now time.Time, limit int) (sessions, revocations int, err error)

	// Close lets go of the database.
	Close() error
}
