// Package session decides what a refresh token means that was presented: the rules by which sessions live and end. It knows a session's
// numbers and the configuration, and takes the time as an argument; it knows no database, cookies or HTTP.
package session

import (
	"time"

	"github.com/latchkey-dev/latchkey/internal/issuer/config"
	"github.com/latchkey-dev/latchkey/internal/issuer/store"
)

// Verdict is what to do about a refresh token whose authenticity is proven.
type Verdict string

const (
	// Rotate: it is the current one. Raise the counter; who succeeds in that hands out the successor.
	Rotate Verdict = "rotate"
	// Repeat: it is the one before, and was current a moment ago. Several tabs refreshed at once, or an answer was lost. Or it is the current
	// one, and only just: were it replaced, the one before, which a slow tab may be about to show, would be the second before. Hand out the
	// current one again; nothing changes.
	Repeat Verdict = "repeat"
	// Reuse: it is older than that, so two parties hold tokens of this session and one of them stole them (RFC 9700, section 4.14.2). End
	// the session. The same holds for a token from the future: the database was set back, and which tokens are old is no longer known.
	Reuse Verdict = "reuse"
	// Idle: the session was not refreshed for too long. End it.
	Idle Verdict = "idle"
	// Expired: the session is too old. End it.
	Expired Verdict = "expired"
)

// Outage is the last time that the store could not be asked; zero if there was none. A refresh token that was replaced then may have a
// successor that nobody ever received, and its owner could not ask again.
type Outage struct{ From, To time.Time }

// forgives tells whether the time for asking again begins with the outage's end.
func (o Outage) forgives(now, rotatedAt time.Time, window time.Duration) bool {
	return !rotatedAt.Before(o.From) && !rotatedAt.After(o.To) && now.Sub(o.To) < window
}

// Judge decides about a token of the session s that has this counter. A clock that went backwards makes it lenient: neither idle, expired nor
// reused, for nothing of that is proven.
func Judge(now time.Time, c *config.Config, o Outage, s store.Session, counter int64) Verdict {
	switch {
	case !now.Before(s.CreatedAt.Add(c.AbsoluteLifetime)):
		return Expired
	case !now.Before(s.RotatedAt.Add(c.IdleLifetime)):
		return Idle
	case counter == s.Counter && counter > 1 && !now.Before(s.RotatedAt) && now.Sub(s.RotatedAt) < c.ReuseWindow/2:
		return Repeat
	case counter == s.Counter:
		return Rotate
	case counter == s.Counter-1 && (now.Sub(s.RotatedAt) < c.ReuseWindow || o.forgives(now, s.RotatedAt, c.ReuseWindow)):
		return Repeat
	default:
		return Reuse
	}
}

// End is when a session is over that is rotated at rotatedAt for the last time.
func End(c *config.Config, createdAt, rotatedAt time.Time) time.Time {
	end := createdAt.Add(c.AbsoluteLifetime)
	if idle := rotatedAt.Add(c.IdleLifetime); idle.Before(end) {
		end = idle
	}
	return end
}

// AccessExpiry is the exp of an access token made now for a session that is over at end: whole seconds, and never beyond the session.
func AccessExpiry(now time.Time, c *config.Config, end time.Time) time.Time {
	expires := now.Add(c.AccessTokenTTL)
	if end.Before(expires) {
		expires = end
	}
	return time.Unix(expires.Unix(), 0)
}

// Horizon is what is over now: sessions that Judge calls Idle or Expired.
func Horizon(now time.Time, c *config.Config) store.Horizon {
	// Over is "at or before", a Horizon is "before", and stores keep milliseconds.
	next := now.Truncate(time.Millisecond).Add(time.Millisecond)
	return store.Horizon{CreatedBefore: next.Add(-c.AbsoluteLifetime), RotatedBefore: next.Add(-c.IdleLifetime)}
}
