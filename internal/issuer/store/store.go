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

var (
	// ErrNotFound says that there is no such session: it never existed, or it has ended.
	ErrNotFound = errors.New("no such session")
	// ErrLimit says that the user has as many sessions as the limit allows.
	ErrLimit = errors.New("the user has as many sessions as are allowed")
	// ErrUnavailable says that the database could not be reached, or did not answer in time.
	ErrUnavailable = errors.New("the session store is not available")
)

// SessionID names a session. It is no secret: access tokens carry it. The zero SessionID names none.
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
	Device      Device    // as last seen
	Data        string    // whatever the token service wants to know again at a refresh; stores do not look into it
}

// Device is what a client shows of itself. The caller bounds the lengths of this and all other text, which is UTF-8 without NUL.
type Device struct {
	Address   string
	UserAgent string
}

// Rotation is what changes in a session that is refreshed.
type Rotation struct {
	At          time.Time
	AccessUntil time.Time // counts if it is later than what is kept
	Device      Device
}

// Horizon tells sessions that are over from those that are not: a session is over when it was created or rotated before these times.
type Horizon struct {
	CreatedBefore time.Time
	RotatedBefore time.Time
}

// Limit is how many sessions a user may have.
type Limit struct {
	Sessions int  // at least 1
	Refuse   bool // a session too many, with ErrLimit; otherwise the oldest make room for it
}

// Revocation says that the access tokens of a session are good no longer, though they have not expired.
type Revocation struct {
	Number  int64 // from 1, in the order in which they became visible, with gaps
	Session SessionID
	Until   time.Time // when the last of its access tokens has expired, plus revocation.Leeway; kept to the second
}

// CounterKey names a counter: a hash, so that nothing that was typed into a sign-in form is kept.
type CounterKey [32]byte

// Store keeps sessions and revocations. All methods may be called from many goroutines, and from several processes at once.
//
// Ending a session always means the same two things in one transaction: the session is deleted, and unless its last access token has
// expired anyway, a Revocation with the next number is added.
//
// Whenever a process connects to a database, it raises the number of revocations to the microseconds since 1970, if that is more. A database
// that was restored from a copy, or a replica that lost its last writes and took over, is always connected to anew, and later than whatever
// was lost. So it gives no number out again that somebody has seen, and a follower of its stream misses nothing.
//
// An error that is none of ErrNotFound and ErrLimit says that the database did not do, or did not say that it did, what it was asked; where
// it could not be reached in time the error is ErrUnavailable as well. What was asked may still happen, so a caller must be able to ask again.
type Store interface {
	// Create adds a session. In the same transaction it ends sessions of the same user: those behind the horizon, and then the oldest, so
	// that the limit holds with the new one. It returns the latter. If the limit refuses, nothing has changed, and the error is ErrLimit.
	Create(ctx context.Context, s Session, l Limit, h Horizon) (ended []SessionID, err error)

	// Find returns a session, or ErrNotFound.
	Find(ctx context.Context, id SessionID) (Session, error)

	// List returns the sessions of a user without their secrets, the newest first.
	List(ctx context.Context, user string) ([]Session, error)

	// Rotate raises the session's counter from counter to the next and sets what else r says. It reports false, and has changed nothing,
	// when the counter is another by now or the session has ended: of any number of calls with the same counter exactly one reports true.
	Rotate(ctx context.Context, id SessionID, counter int64, r Rotation) (bool, error)

	// Extend sets AccessUntil if that is later than what is kept. It reports false when the counter is another by now or the session has
	// ended.
	Extend(ctx context.Context, id SessionID, counter int64, accessUntil time.Time) (bool, error)

	// End ends a session. It reports false when it had ended before.
	End(ctx context.Context, id SessionID, now time.Time) (bool, error)

	// EndAll ends all sessions of a user but one, which may be the zero SessionID, in one transaction, and returns them.
	EndAll(ctx context.Context, user string, except SessionID, now time.Time) ([]SessionID, error)

	// Stream returns the name of this database's stream of revocations, which no other database has, and a number that is at least the
	// last one given out and below the next.
	Stream(ctx context.Context) (name string, last int64, err error)

	// Revocations returns up to limit revocations with numbers above after, in ascending order. Once a number has been returned or given
	// out by Stream, no lower one appears.
	Revocations(ctx context.Context, after int64, limit int) ([]Revocation, error)

	// Follow calls changed whenever another process may have added a Revocation, until ctx is done. Now and then it may miss one: look
	// without being told, too.
	Follow(ctx context.Context, changed func())

	// Count adds one to a counter and returns what it is then, and when it starts again from nothing: window after it was first counted.
	Count(ctx context.Context, key CounterKey, window time.Duration, now time.Time) (hits int, until time.Time, err error)

	// Uncount takes one from a counter that is above nothing and whose window has not ended. Until when it counts stays as it is.
	Uncount(ctx context.Context, key CounterKey, now time.Time) error

	// Time is what the clock says that all processes share which use this database, at the moment when the caller's own says now.
	Time(ctx context.Context, now time.Time) (time.Time, error)

	// Prune deletes sessions that are behind the horizon and whose access tokens have expired by now, and revocations and counters that
	// have run out by now; at most limit of each, so that others get their turn. Of many sessions it looks at a part, and at the next part
	// the next time. It returns how many sessions and revocations it deleted.
	Prune(ctx context.Context, h Horizon, now time.Time, limit int) (sessions, revocations int, err error)

	// Sessions is how many sessions are stored, those that are over and not pruned yet among them: exactly while they are few, else within some
	// per cent, from a Sample. It takes no longer the more there are.
	Sessions(ctx context.Context) (int, error)

	// Close lets go of the database.
	Close() error
}
