package issuer

import (
	"context"
	"fmt"
	"time"

	"github.com/latchkey-dev/latchkey/internal/issuer/config"
	"github.com/latchkey-dev/latchkey/internal/issuer/refreshtoken"
	"github.com/latchkey-dev/latchkey/internal/issuer/session"
	"github.com/latchkey-dev/latchkey/internal/issuer/store"
	"github.com/latchkey-dev/latchkey/internal/issuer/users"
)

// attempts bounds how often a refresh looks again after it lost a race. Each loss is another client's progress, and a second look nearly
// always settles it.
const attempts = 10

// presented is a refresh token that is genuine: whose it is, what it means, and who shows it.
type presented struct {
	session store.Session
	user    *users.User
	asked   []string // the scopes that the client wants; none: all that there are
	counter int64
	verdict session.Verdict
	device  store.Device
	at      time.Time
	log     audit
}

// refresh answers a refresh token with its successor and a new access token. The time is that of the request's arrival: having waited for
// others does not make a token old. Scopes that are asked for count for this access token alone.
func (s *sessions) refresh(ctx context.Context, m *material, token string, asked []string, device store.Device, log audit) (grant, error) {
	now := s.instant()
	raced := false
	for range attempts {
		found, counter, err := s.find(ctx, token)
		if err != nil {
			return grant{}, err
		}
		p := presented{session: found, asked: asked, counter: counter, device: device, at: now, log: log.of(found)}
		user, gone := m.whose(found)
		if gone != "" {
			return grant{}, s.endBy(ctx, found, gone, now, p.log, errSessionEnded)
		}
		p.user, p.verdict = user, session.Judge(now, m.config, s.journal.lastOutage(), found, counter)
		if raced && p.verdict == session.Reuse && m.config.ReuseWindow > 0 {
			p.verdict = session.Repeat // it was good when it came, and others, who may have come long before, have replaced it since
		}
		if err = s.endIfDue(ctx, m, p); err != nil {
			return grant{}, err
		}
		g, settled, err := s.succeed(ctx, m, p)
		if err != nil {
			return grant{}, err
		}
		if settled {
			s.metrics.refreshed(p.verdict)
			p.log.debug("refreshed", "verdict", p.verdict)
			return g, nil
		}
		raced = true
	}
	return grant{}, fmt.Errorf("refresh: lost %d races in a row", attempts)
}

// endIfDue ends the session if its token says so, or who shows it, and returns what to answer then.
func (s *sessions) endIfDue(ctx context.Context, m *material, p presented) error {
	switch p.verdict {
	case session.Idle:
		return s.endBy(ctx, p.session, endedByIdle, p.at, p.log, errSessionEnded)
	case session.Expired:
		return s.endBy(ctx, p.session, endedByAge, p.at, p.log, errSessionEnded)
	case session.Reuse:
		p.log.tell(eventRefresh, failure, endedByReuse, "counter", p.counter, "current", p.session.Counter, "replaced_at", p.session.RotatedAt)
		return s.endBy(ctx, p.session, endedByReuse, p.at, p.log, errReuseDetected)
	case session.Rotate, session.Repeat:
	}
	// After all that proves more: a stolen token that is used from elsewhere shall count as stolen.
	before := p.session.Device.Address
	if !session.Moved(before, p.device.Address) {
		return nil
	}
	switch m.config.IPBinding {
	case config.IPBindingReauthenticate:
		p.log.tell(eventRefresh, failure, endedByNetwork, "before", before)
		return s.endBy(ctx, p.session, endedByNetwork, p.at, p.log, errNetworkChanged)
	case config.IPBindingLog:
		s.metrics.moved.Inc()
		p.log.tell(eventRefresh, success, endedByNetwork, "before", before)
	case config.IPBindingOff:
	}
	return nil
}

// succeed makes what comes after a token and has the store keep it. It reports false when the session is another by now than it was found.
func (s *sessions) succeed(ctx context.Context, m *material, p presented) (g grant, settled bool, err error) {
	found, rotatedAt := p.session, p.at
	if p.verdict == session.Repeat {
		rotatedAt = found.RotatedAt // the session lives no longer for it
	}
	end := session.End(m.config, found.CreatedAt, rotatedAt)
	expires := session.AccessExpiry(p.at, m.config, end)
	if !expires.After(p.at) { // it ends in this very second
		return grant{}, false, s.endBy(ctx, found, endedByAge, p.at, p.log, errSessionEnded)
	}
	// Judged and signed before anything is written: a token that is not to be had must not cost the client its refresh token.
	scopes, err := narrow(m.scopes(p.user), p.asked)
	if err != nil {
		return grant{}, false, err
	}
	access, err := m.accessToken(p.user, scopes, found, p.at, expires)
	if err != nil {
		return grant{}, false, err
	}
	g = grant{accessToken: access, scopes: scopes, expiresIn: expires.Sub(p.at), endsIn: end.Sub(p.at)}
	if p.verdict == session.Rotate {
		g.refreshToken = refreshtoken.Make(found.ID, found.Secret, found.Counter+1)
		settled, err = s.store.Rotate(ctx, found.ID, found.Counter, store.Rotation{At: p.at, AccessUntil: expires, Device: p.device})
		s.journal.wrote(p.at, err)
		return g, settled, err
	}
	g.refreshToken = refreshtoken.Make(found.ID, found.Secret, found.Counter)
	if !expires.After(found.AccessUntil) {
		return g, true, nil
	}
	// Whoever ends the session revokes its access tokens until the last of them expires, so the store must know which is.
	settled, err = s.store.Extend(ctx, found.ID, found.Counter, expires)
	s.journal.wrote(p.at, err)
	return g, settled, err
}
