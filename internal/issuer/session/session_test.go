package session_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/latchkey-dev/latchkey/internal/issuer/config"
	"github.com/latchkey-dev/latchkey/internal/issuer/session"
	"github.com/latchkey-dev/latchkey/internal/issuer/store"
)

var (
	start  = time.UnixMilli(1_800_000_000_000)
	limits = &config.Config{AccessTokenTTL: 5 * time.Minute, IdleLifetime: time.Hour, AbsoluteLifetime: 10 * time.Hour, ReuseWindow: 10 * time.Second}
)

func TestJudge(t *testing.T) {
	// Signed in at start, refreshed six times, last after half an hour: token 7 is current.
	rotated := start.Add(30 * time.Minute)
	s := store.Session{Counter: 7, CreatedAt: start, RotatedAt: rotated}
	noWindow := *limits
	noWindow.ReuseWindow = 0
	signedIn := store.Session{Counter: 1, CreatedAt: start, RotatedAt: start}
	late := s
	late.RotatedAt = start.Add(10*time.Hour - time.Minute)
	for _, tc := range []struct {
		name    string
		s       store.Session
		c       *config.Config
		counter int64
		now     time.Time
		want    session.Verdict
	}{
		{"the current token rotates", s, limits, 7, rotated.Add(time.Minute), session.Rotate},
		{"the current token is kept for half the window", s, limits, 7, rotated.Add(5*time.Second - 1), session.Repeat},
		{"the current token rotates from half the window", s, limits, 7, rotated.Add(5 * time.Second), session.Rotate},
		{"the current token rotates at once where there is no window", s, &noWindow, 7, rotated, session.Rotate},
		{"the token of a sign-in rotates at once", signedIn, limits, 1, start, session.Rotate},
		{"the one before is repeated", s, limits, 6, rotated.Add(time.Second), session.Repeat},
		{"the one before is repeated to the end of the window", s, limits, 6, rotated.Add(10*time.Second - 1), session.Repeat},
		{"the one before is reuse from the end of the window", s, limits, 6, rotated.Add(10 * time.Second), session.Reuse},
		{"the one before is reuse where there is no window", s, &noWindow, 6, rotated, session.Reuse},
		{"an older one is reuse even in the window", s, limits, 5, rotated, session.Reuse},
		{"the first one is reuse", s, limits, 1, rotated, session.Reuse},
		{"one from the future is reuse", s, limits, 8, rotated, session.Reuse},
		{"the last moment before idleness counts", s, limits, 7, rotated.Add(time.Hour - 1), session.Rotate},
		{"a session that was idle is over", s, limits, 7, rotated.Add(time.Hour), session.Idle},
		{"an old token of a session that was idle says no more than that", s, limits, 3, rotated.Add(time.Hour), session.Idle},
		{"a session that is too old is over", late, limits, 7, start.Add(10 * time.Hour), session.Expired},
		{"the last moment of a session counts", late, limits, 7, start.Add(10*time.Hour - 1), session.Rotate},
		{"a clock that went backwards ends nothing", s, limits, 7, start.Add(-time.Hour), session.Rotate},
		{"a clock that went backwards leaves the window open", s, limits, 6, start.Add(-time.Hour), session.Repeat},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := session.Judge(tc.now, tc.c, session.Outage{}, tc.s, tc.counter); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}

// The answer that carried the successor may have been lost with the store, and nobody could ask again while it was away.
func TestTheWindowBeginsAnewWhenAnOutageEnds(t *testing.T) {
	began := start.Add(30 * time.Minute)
	o := session.Outage{From: began, To: began.Add(10 * time.Minute)}
	noWindow := *limits
	noWindow.ReuseWindow = 0
	for _, tc := range []struct {
		name    string
		rotated time.Time
		c       *config.Config
		counter int64
		now     time.Time
		want    session.Verdict
	}{
		{"replaced as it began", began, limits, 6, o.To.Add(time.Second), session.Repeat},
		{"replaced as it ended, by a request from before", o.To, limits, 6, o.To.Add(time.Second), session.Repeat},
		{"to the end of the window", began, limits, 6, o.To.Add(10*time.Second - 1), session.Repeat},
		{"and no longer", began, limits, 6, o.To.Add(10 * time.Second), session.Reuse},
		{"replaced before it", began.Add(-1), limits, 6, o.To.Add(time.Second), session.Reuse},
		{"an older one", began, limits, 5, o.To.Add(time.Second), session.Reuse},
		{"where there is no window", began, &noWindow, 6, o.To, session.Reuse},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := store.Session{Counter: 7, CreatedAt: start, RotatedAt: tc.rotated}
			if got := session.Judge(tc.now, tc.c, o, s, tc.counter); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}

// Everything that speaks of a session's end speaks of the same instant.
func TestEndsAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		since := func(name string) time.Duration {
			return time.Duration(rapid.Int64Range(0, int64(12*time.Hour/time.Millisecond)).Draw(t, name)) * time.Millisecond
		}
		s := store.Session{Counter: 2, CreatedAt: start}
		s.RotatedAt = start.Add(since("rotated"))
		now := start.Add(since("now"))
		verdict := session.Judge(now, limits, session.Outage{}, s, 2)
		over := verdict == session.Idle || verdict == session.Expired
		end := session.End(limits, s.CreatedAt, s.RotatedAt)
		if got, want := !now.Before(end), over; got != want {
			t.Errorf("End: got %v, want %v (%s)", got, want, verdict)
		}
		h := session.Horizon(now, limits)
		if got, want := s.CreatedAt.Before(h.CreatedBefore) || s.RotatedAt.Before(h.RotatedBefore), over; got != want {
			t.Errorf("Horizon: got %v, want %v (%s)", got, want, verdict)
		}
		expires := session.AccessExpiry(now, limits, end)
		if expires.After(end) || expires.After(now.Add(limits.AccessTokenTTL)) || expires.Nanosecond() != 0 {
			t.Errorf("AccessExpiry: got %v, want whole seconds not after %v nor the ttl", expires, end)
		}
	})
}

// Whatever a session's other tabs do: a token that somebody was given is good for half the window after it was replaced.
func TestTokenIsGoodForHalfTheWindowAfterItWasReplaced(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := store.Session{Counter: 1, CreatedAt: start, RotatedAt: start}
		now := start
		replaced := map[int64]time.Time{} // when each token was, by its counter
		for range rapid.IntRange(1, 100).Draw(t, "refreshes") {
			now = now.Add(time.Duration(rapid.Int64Range(0, int64(6*time.Second)).Draw(t, "later")))
			counter := rapid.Int64Range(max(1, s.Counter-3), s.Counter).Draw(t, "token")
			verdict := session.Judge(now, limits, session.Outage{}, s, counter)
			if at, old := replaced[counter]; (!old || now.Sub(at) < limits.ReuseWindow/2) && verdict == session.Reuse {
				t.Fatalf("token %d of %d, replaced %s ago, is taken for stolen", counter, s.Counter, now.Sub(at))
			}
			if verdict == session.Rotate {
				replaced[s.Counter] = now
				s.Counter, s.RotatedAt = s.Counter+1, now
			}
		}
	})
}
