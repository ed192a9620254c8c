package issuer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/latchkey-dev/latchkey/internal/issuer/refreshtoken"
	"github.com/latchkey-dev/latchkey/internal/issuer/session"
	"github.com/latchkey-dev/latchkey/internal/issuer/store"
	"github.com/latchkey-dev/latchkey/internal/issuer/users"
)

// sessions does what clients ask for. Its methods return a grant, a refusal that is meant for the client, or an error that is not.
type sessions struct {
	store   store.Store
	journal *journal
	gate    *gate
	metrics *metrics
	now     func() time.Time
}

// grant is what a client gets who signed in or refreshed.
type grant struct {
	accessToken  string
	refreshToken string
	expiresIn    time.Duration // of the access token
	endsIn       time.Duration // of the session, unless it is refreshed
}

// endTimeout is how long it may take to end a session. A client that hangs up does not stop it.
const endTimeout = 10 * time.Second

// Why sessions end, for the log and the metrics.
const (
	endedByLogout  = "logout"
	endedByRevoke  = "revoked"
	endedByLimit   = "limit"
	endedByReuse   = "reuse"
	endedByIdle    = "idle"
	endedByAge     = "expired"
	endedByRemoval = "user_removed"
)

// login checks a password and starts a session.
func (s *sessions) login(ctx context.Context, m *material, name string, password []byte, log *slog.Logger) (grant, error) {
	user, ok, err := s.authenticate(ctx, m, name, password)
	if err != nil {
		return grant{}, err
	}
	if !ok {
		if _, known := m.users.Find(name); !known {
			name = "(unknown)" // people type their password into the wrong field
		}
		log.Warn("sign-in refused", "user", name)
		return grant{}, errInvalidCredentials
	}

	now := s.instant()
	n := store.Session{ID: store.NewSessionID(), User: user.Name, Secret: store.NewSecret(), Counter: 1, CreatedAt: now, RotatedAt: now}
	end := session.End(m.config, now, now)
	n.AccessUntil = session.AccessExpiry(now, m.config, end)
	token, err := m.accessToken(user, n, now, n.AccessUntil)
	if err != nil {
		return grant{}, err
	}
	ended, err := s.store.Create(ctx, n, store.Limit{Sessions: m.config.MaxSessionsPerUser}, session.Horizon(now, m.config))
	if err != nil {
		return grant{}, err
	}
	log.Info("signed in", "user", user.Name, "sid", n.ID)
	for _, id := range ended {
		s.metrics.ended(endedByLimit)
		log.Info("session ended", "user", user.Name, "sid", id, "why", endedByLimit)
	}
	if len(ended) > 0 {
		s.journal.advance()
	}
	return grant{accessToken: token, refreshToken: refreshtoken.Make(n.ID, n.Secret, n.Counter),
		expiresIn: n.AccessUntil.Sub(now), endsIn: end.Sub(now)}, nil
}

// authenticate checks a password when there is room for it.
func (s *sessions) authenticate(ctx context.Context, m *material, name string, password []byte) (*users.User, bool, error) {
	leave, err := s.gate.enter(ctx, m.users.CheckMemory())
	if err != nil {
		return nil, false, err
	}
	defer leave()
	user, ok := m.users.Authenticate(name, password)
	return user, ok, nil
}

// attempts bounds how often a refresh looks again after it lost a race. Each loss is another client's progress, and a second look nearly
// always settles it.
const attempts = 10

// refresh answers a refresh token with its successor and a new access token. The time is that of the request's arrival: having waited for
// others does not make a token old.
func (s *sessions) refresh(ctx context.Context, m *material, token string, base *slog.Logger) (grant, error) {
	now := s.instant()
	for range attempts {
		found, counter, err := s.find(ctx, token)
		if err != nil {
			return grant{}, err
		}
		log := base.With("user", found.User, "sid", found.ID)
		user, listed := m.users.Find(found.User)
		if !listed {
			return grant{}, s.endBy(ctx, found, endedByRemoval, now, log, errSessionEnded)
		}

		verdict := session.Judge(now, m.config, s.journal.lastOutage(), found, counter)
		rotatedAt := found.RotatedAt
		switch verdict {
		case session.Idle:
			return grant{}, s.endBy(ctx, found, endedByIdle, now, log, errSessionEnded)
		case session.Expired:
			return grant{}, s.endBy(ctx, found, endedByAge, now, log, errSessionEnded)
		case session.Reuse:
			log.Warn("refresh token used again", "counter", counter, "current", found.Counter, "replacedAt", found.RotatedAt)
			return grant{}, s.endBy(ctx, found, endedByReuse, now, log, errReuseDetected)
		case session.Rotate:
			rotatedAt = now
		case session.Repeat: // the session lives no longer for it
		}
		end := session.End(m.config, found.CreatedAt, rotatedAt)
		expires := session.AccessExpiry(now, m.config, end)
		if !expires.After(now) {
			return grant{}, s.endBy(ctx, found, endedByAge, now, log, errSessionEnded) // in this very second
		}
		// Signed before anything is written: a token that cannot be signed must not cost the client its refresh token.
		access, err := m.accessToken(user, found, now, expires)
		if err != nil {
			return grant{}, err
		}
		g := grant{accessToken: access, expiresIn: expires.Sub(now), endsIn: end.Sub(now)}

		settled := true
		if verdict == session.Rotate {
			g.refreshToken = refreshtoken.Make(found.ID, found.Secret, counter+1)
			settled, err = s.store.Rotate(ctx, found.ID, counter, store.Rotation{At: now, AccessUntil: expires})
		} else {
			g.refreshToken = refreshtoken.Make(found.ID, found.Secret, found.Counter)
			// Whoever ends the session revokes its access tokens until the last of them expires, so the store must know which is.
			if expires.After(found.AccessUntil) {
				settled, err = s.store.Extend(ctx, found.ID, found.Counter, expires)
			}
		}
		if err != nil {
			return grant{}, err
		}
		if settled {
			s.metrics.refreshed(verdict)
			log.Debug("refreshed", "verdict", verdict)
			return g, nil
		}
	}
	return grant{}, fmt.Errorf("refresh: lost %d races in a row", attempts)
}

// logout ends the session of a refresh token, be it the current one or not: who has any of them was signed in. It is content if there is
// nothing to end.
func (s *sessions) logout(ctx context.Context, token string, log *slog.Logger) error {
	found, _, err := s.find(ctx, token)
	if errors.Is(err, errNoSession) {
		return nil
	}
	if err != nil {
		return err
	}
	return s.endBy(ctx, found, endedByLogout, s.instant(), log.With("user", found.User, "sid", found.ID), nil)
}

// revoke ends the session of a refresh token or an access token. It is content if there is nothing to end.
func (s *sessions) revoke(ctx context.Context, m *material, token string, log *slog.Logger) error {
	found, _, err := s.find(ctx, token)
	if errors.Is(err, errNoSession) {
		found, err = s.ofAccessToken(ctx, m, token)
	}
	if errors.Is(err, errNoSession) {
		return nil
	}
	if err != nil {
		return err
	}
	return s.endBy(ctx, found, endedByRevoke, s.instant(), log.With("user", found.User, "sid", found.ID), nil)
}

// ofAccessToken returns the session of an access token that is valid, or errNoSession.
func (s *sessions) ofAccessToken(ctx context.Context, m *material, token string) (store.Session, error) {
	id, err := m.session(token, s.now())
	if err != nil {
		return store.Session{}, err
	}
	found, err := s.store.Find(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return store.Session{}, errNoSession
	}
	return found, err
}

// find returns the session of a refresh token and the token's counter, both proven.
func (s *sessions) find(ctx context.Context, token string) (store.Session, int64, error) {
	claimed, err := refreshtoken.Parse(token)
	if err != nil {
		return store.Session{}, 0, errNoSession
	}
	found, err := s.store.Find(ctx, claimed.Session())
	if errors.Is(err, store.ErrNotFound) {
		return store.Session{}, 0, errNoSession
	}
	if err != nil {
		return store.Session{}, 0, err
	}
	if !claimed.Authentic(found.Secret) {
		return store.Session{}, 0, errNoSession
	}
	return found, claimed.Counter(), nil
}

// endBy ends a session and returns what to answer.
func (s *sessions) endBy(ctx context.Context, found store.Session, why string, now time.Time, log *slog.Logger, answer error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
	defer cancel()
	ended, err := s.store.End(ctx, found.ID, now)
	if err != nil {
		return err
	}
	if ended { // and not by somebody else at the same time
		s.metrics.ended(why)
		log.Info("session ended", "why", why)
		s.journal.advance()
	}
	return answer
}

// instant is the time as stores keep it.
func (s *sessions) instant() time.Time { return s.now().Truncate(time.Millisecond) }
