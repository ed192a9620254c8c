package issuer

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"golang.org/x/text/unicode/norm"

	"github.com/latchkey-dev/latchkey/internal/issuer/config"
	"github.com/latchkey-dev/latchkey/internal/issuer/refreshtoken"
	"github.com/latchkey-dev/latchkey/internal/issuer/session"
	"github.com/latchkey-dev/latchkey/internal/issuer/store"
	"github.com/latchkey-dev/latchkey/internal/issuer/webhook"
	"github.com/latchkey-dev/latchkey/internal/scope"
)

// sessions does what clients ask for. Its methods return a grant, a refusal that is meant for the client, or an error that is not.
type sessions struct {
	store   store.Store
	journal *journal
	signIns *doors
	guesses *guesses
	gate    *gate
	metrics *metrics
	now     func() time.Time
}

// grant is what a client gets who signed in or refreshed.
type grant struct {
	accessToken  string
	refreshToken string
	scopes       []string      // of the access token
	expiresIn    time.Duration // of the access token
	endsIn       time.Duration // of the session, unless it is refreshed
}

// endTimeout is how long it may take to end a session. A client that hangs up does not stop it.
const endTimeout = 10 * time.Second

// Why sessions end, for the log and the metrics.
const (
	endedByLogout   = "logout"
	endedByRevoke   = "revoked"
	endedByLimit    = "limit"
	endedByReuse    = "reuse"
	endedByIdle     = "idle"
	endedByAge      = "expired"
	endedByNetwork  = "network_changed"
	endedByRemoval  = "user_removed"
	endedByPassword = "password_changed"
	endedByUser     = "ended_by_user"
	endedByBackend  = "ended_by_backend"
	endedBySignIn   = "signed_in_again"
)

// credentials are what somebody signs in with.
type credentials struct {
	name     string
	password []byte
	brought  string // the refresh token that the browser has had until now; empty where there is none
}

// login checks a password and starts a session. The one that the browser has had ends: its cookie is about to be replaced, so nobody could refresh
// it or sign out of it any more, and it would count among the user's devices until it is idle. That is before the new one begins, so that no other device
// makes room for it.
func (s *sessions) login(ctx context.Context, m *material, by credentials, device store.Device, log audit) (grant, error) {
	leave, err := s.signIns.enter()
	if err != nil {
		return grant{}, err
	}
	defer leave()
	name := norm.NFC.String(by.name)
	if listed, known := m.listed(name); known {
		name = listed.Name
	}
	takeBack, err := s.guesses.admit(ctx, name, device.Address)
	if err != nil {
		return grant{}, err
	}
	who, err := s.authenticate(ctx, m, name, by.password, device, log.trace)
	// Who hangs up on an app that is slow to say no has been told by its silence, and an app that answers what it should not may mean no by it.
	if refused := errors.Is(err, errInvalidCredentials) || errors.Is(err, webhook.ErrUnfit) || err != nil && ctx.Err() != nil; !refused {
		takeBack()
	}
	if err != nil {
		return grant{}, err
	}
	if err = s.endOf(ctx, by.brought, endedBySignIn, log); err != nil {
		return grant{}, err
	}
	return s.begin(ctx, m, who, device, log)
}

// begin starts a session of a user who is known to be the one.
func (s *sessions) begin(ctx context.Context, m *material, who identity, device store.Device, log audit) (grant, error) {
	now := s.instant()
	data, err := who.data()
	if err != nil {
		return grant{}, err
	}
	n := store.Session{ID: store.NewSessionID(), User: who.user.Name, Secret: store.NewSecret(), Counter: 1, CreatedAt: now, RotatedAt: now,
		Device: device, Data: data}
	end := session.End(m.config, now, now)
	n.AccessUntil = session.AccessExpiry(now, m.config, end)
	scopes := m.scopes(who.user)
	token, err := m.accessToken(who.user, scopes, n, now, n.AccessUntil)
	if err != nil {
		return grant{}, err
	}
	limit := store.Limit{Sessions: m.config.MaxSessionsPerUser, Refuse: m.config.OnLimit == config.Refuse}
	ended, err := s.store.Create(ctx, n, limit, session.Horizon(now, m.config))
	if errors.Is(err, store.ErrLimit) {
		return grant{}, errSessionLimit
	}
	if err != nil {
		return grant{}, err
	}
	log.of(n).tell(eventSignIn, success, "")
	s.tellEnded(n.User, ended, endedByLimit, log)
	return grant{accessToken: token, scopes: scopes, refreshToken: refreshtoken.Make(n.ID, n.Secret, n.Counter),
		expiresIn: n.AccessUntil.Sub(now), endsIn: end.Sub(now)}, nil
}

// tellEnded tells everybody of sessions that the store has ended.
func (s *sessions) tellEnded(user string, ended []store.SessionID, why string, log audit) {
	for _, id := range ended {
		s.metrics.ended(why)
		log.with("user", user, "session", id).tell(eventSessionEnded, success, why)
	}
	if len(ended) > 0 {
		s.journal.advance()
	}
}

// logout ends the session of a refresh token.
func (s *sessions) logout(ctx context.Context, token string, log audit) error {
	return s.endOf(ctx, token, endedByLogout, log)
}

// endOf ends the session of a refresh token, be it the current one or not: who has any of them was signed in. It is content if there is
// nothing to end.
func (s *sessions) endOf(ctx context.Context, token, why string, log audit) error {
	found, _, err := s.find(ctx, token)
	if errors.Is(err, errNoSession) {
		return nil
	}
	if err != nil {
		return err
	}
	return s.endBy(ctx, found, why, s.instant(), log.of(found), nil)
}

// revoke ends the session of a refresh token or an access token. It is content if there is nothing to end.
func (s *sessions) revoke(ctx context.Context, m *material, token string, log audit) error {
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
	return s.endBy(ctx, found, endedByRevoke, s.instant(), log.of(found), nil)
}

// living is ofAccessToken of sessions that would be refreshed. One whose password is no longer the user's, or that is older than is allowed
// since, ends at its next refresh, and nobody shall do anything with it until then.
func (s *sessions) living(ctx context.Context, m *material, token string) (store.Session, error) {
	found, err := s.ofAccessToken(ctx, m, token)
	if err != nil {
		return store.Session{}, err
	}
	if _, gone := m.whose(found); gone != "" || !session.End(m.config, found.CreatedAt, found.RotatedAt).After(s.instant()) {
		return store.Session{}, errNoSession
	}
	return found, nil
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

// list returns the sessions of the user of a session, the newest first.
func (s *sessions) list(ctx context.Context, m *material, own store.Session) ([]store.Session, error) {
	all, err := s.store.List(ctx, own.User)
	now := s.instant()
	return slices.DeleteFunc(all, func(each store.Session) bool {
		return !session.End(m.config, each.CreatedAt, each.RotatedAt).After(now)
	}), err
}

// end ends one session of the same user as another. Of sessions of others it says what it says of those that are not there.
func (s *sessions) end(ctx context.Context, own store.Session, id store.SessionID, log audit) error {
	found, err := s.store.Find(ctx, id)
	if errors.Is(err, store.ErrNotFound) || err == nil && found.User != own.User {
		return errNoSuchSession
	}
	if err != nil {
		return err
	}
	return s.endBy(ctx, found, endedByUser, s.instant(), log.of(found).with("by", own.ID), nil)
}

// endAll ends all sessions of a user but one, which may be none.
func (s *sessions) endAll(ctx context.Context, user string, except store.SessionID, why string, log audit) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
	defer cancel()
	ended, err := s.store.EndAll(ctx, user, except, s.instant())
	if err != nil {
		log.with("user", user).refused(eventSignOutAll, err)
		return err
	}
	log.with("user", user).tell(eventSignOutAll, success, why, "sessions", len(ended))
	s.tellEnded(user, ended, why, log)
	return nil
}

// introspect returns what a token is worth now, in the words of RFC 7662.
func (s *sessions) introspect(ctx context.Context, m *material, token string) (map[string]any, error) {
	worthless := map[string]any{"active": false}
	now := s.instant()
	found, counter, err := s.find(ctx, token)
	if err == nil {
		user, gone := m.whose(found)
		verdict := session.Judge(now, m.config, s.journal.lastOutage(), found, counter)
		if gone != "" || verdict != session.Rotate && verdict != session.Repeat {
			return worthless, nil
		}
		told := map[string]any{
			"active": true, "token_type": "refresh_token", "iss": m.config.Issuer, "sub": found.User, "sid": found.ID.String(),
			"iat": found.RotatedAt.Unix(), "exp": session.End(m.config, found.CreatedAt, found.RotatedAt).Unix(),
		}
		if scopes := m.scopes(user); len(scopes) > 0 {
			told["scope"] = scope.Format(scopes)
		}
		return told, nil
	}
	if !errors.Is(err, errNoSession) {
		return nil, err
	}
	verified, refused := m.verify(token, now)
	if refused != nil {
		return worthless, nil //nolint:nilerr // that is what it is worth
	}
	switch _, err = s.living(ctx, m, token); {
	case errors.Is(err, errNoSession):
		return worthless, nil
	case err != nil:
		return nil, err
	}
	told := maps.Clone(verified.Claims)
	told["active"], told["token_type"] = true, "Bearer"
	return told, nil
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
func (s *sessions) endBy(ctx context.Context, found store.Session, why string, now time.Time, log audit, answer error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
	defer cancel()
	ended, err := s.store.End(ctx, found.ID, now)
	if err != nil {
		return err
	}
	if ended { // and not by somebody else at the same time
		s.metrics.ended(why)
		log.tell(eventSessionEnded, success, why)
		s.journal.advance()
	}
	return answer
}

// instant is the time as stores keep it.
func (s *sessions) instant() time.Time { return s.now().Truncate(time.Millisecond) }
