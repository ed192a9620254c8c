package tokenservice

import (
	"context"
	"crypto/sha256"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/latchkey-dev/latchkey/internal/credential"
)

// Outcome is how it went to renew a session on the way in.
type Outcome string

const (
	// NotRenewed says that the request brings no session.
	NotRenewed Outcome = ""
	// Renewed says that there is a new access token.
	Renewed Outcome = "renewed"
	// Ended says that the token service knows no such session, or not any more.
	Ended Outcome = "ended"
	// Unavailable says that the token service did not answer, or has no time. The session is as good as it was.
	Unavailable Outcome = "unavailable"
)

// Renewal is what became of a session that was to be renewed.
type Renewal struct {
	Outcome Outcome
	Access  string   // the new access token, where Outcome is Renewed
	Cookies []string // values of Set-Cookie for the answer
	// Recalled says that others were told before: the browser may have the cookies already.
	Recalled bool
}

const (
	// renewWithin bounds how long a page waits for its session to be renewed.
	renewWithin = 5 * time.Second
	// recall is how long an outcome is remembered, for requests that the browser sent before it heard of it. Within a TokenIssuer's reuseWindow they
	// would be answered the same by the token service.
	recall = 2 * time.Second
	// maxFlights bounds how many outcomes are remembered. Beyond, requests that come late ask for themselves.
	maxFlights = 10_000
	// maxUnderWay bounds the renewals that are under way: anybody can make up refresh tokens, and hang up. Each takes a millisecond or two, unless the
	// token service is slow.
	maxUnderWay = 256
	// maxRefresh is more than any refresh token is long.
	maxRefresh = 256
)

// userAgent is all that the token service hears of a page's request: which device it is.
var userAgent = []string{"User-Agent"}

// Renew renews the session that a request brings in its cookie. Requests that bring the same one from the same address wait for one answer.
func (s *Routes) Renew(r *http.Request, now time.Time) Renewal {
	token, times := credential.Cookie(r.Header, credential.RefreshCookie)
	if !s.rendered() || times != 1 || token == "" || len(token) > maxRefresh {
		return Renewal{}
	}
	out := s.request(r, "/refresh", userAgent)
	out.Header.Set("Cookie", refreshCookie+"="+token)
	ctx := context.WithoutCancel(r.Context()) // the others wait as well
	joined, recalled := s.flights.join(sha256.Sum256([]byte(token+" "+out.Header.Get("X-Forwarded-For"))), now, func() Renewal { return s.renew(ctx, out) })
	if joined == nil {
		return Renewal{Outcome: Unavailable}
	}
	select {
	case <-joined.done:
	case <-r.Context().Done():
		return Renewal{Outcome: Unavailable}
	}
	renewal := joined.renewal
	renewal.Recalled = recalled
	return renewal
}

func (s *Routes) renew(ctx context.Context, out *http.Request) Renewal {
	ctx, cancel := context.WithTimeout(ctx, renewWithin)
	defer cancel()
	told, err := s.ask(ctx, out)
	switch {
	case errors.Is(err, errTooLong):
		s.log.ErrorContext(ctx, "session not renewed", "error", err)
	case err != nil:
		s.log.WarnContext(ctx, "token service does not answer", "address", s.client.host, "error", unreachable(err))
	case told.status == http.StatusOK && told.access != "":
		return Renewal{Outcome: Renewed, Access: told.access, Cookies: told.cookies}
	case told.status == http.StatusUnauthorized:
		return Renewal{Outcome: Ended, Cookies: told.cookies}
	}
	return Renewal{Outcome: Unavailable}
}

// flights are the renewals that are under way, and those that ended a moment ago.
type flights struct {
	mu       sync.Mutex
	by       map[[sha256.Size]byte]*flight
	underWay int
	swept    time.Time
}

// flight is one renewal.
type flight struct {
	done    chan struct{}
	renewal Renewal   // to be read once done is closed
	landed  time.Time // guarded by flights.mu; zero while it is under way
}

// join returns the flight of this key, which it starts where there is none, and whether it had landed before; nil: too many are under way.
func (f *flights) join(key [sha256.Size]byte, now time.Time, fly func() Renewal) (joined *flight, landed bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sweep(now)
	if there := f.by[key]; there != nil {
		return there, !there.landed.IsZero()
	}
	if f.underWay >= maxUnderWay {
		return nil, false
	}
	started := &flight{done: make(chan struct{})}
	if f.by == nil {
		f.by = map[[sha256.Size]byte]*flight{}
	}
	f.by[key] = started
	f.underWay++
	go func() {
		started.renewal = fly()
		f.mu.Lock()
		defer f.mu.Unlock()
		f.underWay--
		if started.landed = time.Now(); len(f.by) > maxFlights {
			delete(f.by, key)
		}
		close(started.done)
	}()
	return started, false
}

// sweep forgets what landed long enough ago.
func (f *flights) sweep(now time.Time) {
	if now.Sub(f.swept) < recall/4 {
		return
	}
	f.swept = now
	for key, each := range f.by {
		if !each.landed.IsZero() && now.Sub(each.landed) >= recall {
			delete(f.by, key)
		}
	}
}
