package issuer

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/latchkey-dev/latchkey/internal/issuer/session"
	"github.com/latchkey-dev/latchkey/internal/issuer/store"
	"github.com/latchkey-dev/latchkey/internal/issuer/users"
)

// Sign-ins by password are counted before the password is looked at, so that a thousand guesses at once are no better than one after the
// other; who knew the password is taken back from the count. Whoever guesses too much is sent away without an answer. Names that nobody
// has are counted like others.

// bound is how many wrong guesses there may be within a window.
type bound struct {
	of     string // tells the counters apart, here and in the metrics
	hits   int
	window time.Duration
}

var (
	// boundDevice is for one name from one network: a person who tries their old passwords.
	boundDevice = bound{"name_and_network", 10, 10 * time.Minute}
	// boundName is for one name from anywhere (OWASP ASVS 5.0, 6.3.1): many machines that share the guesses. No network alone reaches it
	// within what boundDevice leaves it, and networks in which the user is signed in already are not held up by it, or anybody could keep
	// anybody from signing in.
	boundName = bound{"name", 100, time.Hour}
	// boundNetwork is for one network, whatever the names: one machine that tries a few passwords with many names. It has room for
	// the slips of an office of thousands behind one address.
	boundNetwork = bound{"network", 300, 10 * time.Minute}
)

// key names the counter of a bound for some values. What was typed is not kept: it may be a password in the wrong field.
func (b bound) key(values ...string) store.CounterKey {
	return sha256.Sum256([]byte("latchkey sign-in\x00" + b.of + "\x00" + strings.Join(values, "\x00")))
}

// guesses counts sign-ins by name and network.
type guesses struct {
	store store.Store
	now   func() time.Time
	log   *slog.Logger

	throttled func(bound string) // is told of each that is sent away
}

// admit counts an attempt and returns how to take it back, or refuses it when there were too many. Names are counted as they are
// compared, without regard to case: many apps take them so.
func (g *guesses) admit(ctx context.Context, typed, address string) (takeBack func(), err error) {
	name, network := users.Fold(typed), session.Site(address)
	var counted []store.CounterKey
	takeBack = func() {
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
		defer cancel()
		for _, key := range counted {
			if err := g.store.Uncount(bounded, key, g.now()); err != nil {
				g.log.Warn("a sign-in that was no guess counts as one until its window ends", "error", err)
			}
		}
	}
	for _, each := range []struct {
		bound  bound
		key    store.CounterKey
		exempt func() bool
	}{
		{boundNetwork, boundNetwork.key(network), nil},
		{boundDevice, boundDevice.key(name, network), nil},
		{boundName, boundName.key(name), func() bool { return g.isHome(ctx, typed, address) }},
	} {
		now := g.now()
		hits, until, err := g.store.Count(ctx, each.key, each.bound.window, now)
		if err != nil {
			return nil, err
		}
		counted = append(counted, each.key)
		if hits > each.bound.hits && (each.exempt == nil || !each.exempt()) {
			takeBack() // it was no guess, as nothing was looked at
			g.throttled(each.bound.of)
			return nil, throttled(max(until.Sub(now), time.Second))
		}
	}
	return takeBack, nil
}

// isHome reports whether the user is signed in in the network of an address.
func (g *guesses) isHome(ctx context.Context, user, address string) bool {
	all, err := g.store.List(ctx, user)
	network := session.Network(address)
	return err == nil && slices.ContainsFunc(all, func(s store.Session) bool { return session.Network(s.Device.Address) == network })
}
