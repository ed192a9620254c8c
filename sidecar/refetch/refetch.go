// Package refetch asks a foreign issuer for its keys once more when a token names one that the bundle does not have: an issuer may sign with a new
// key before the manager has seen it. Anybody can make up such tokens, so it is one request at a time and one in a while, whatever arrives, and
// nobody waits for it who does not need it. It knows issuers and time, not tokens or requests.
package refetch

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/latchkey-dev/latchkey/internal/bundle"
	"github.com/latchkey-dev/latchkey/internal/jwksource"
	"github.com/latchkey-dev/latchkey/internal/keyset"
	"github.com/latchkey-dev/latchkey/sidecar/gate"
)

const (
	// interval is the time from the end of one request to an issuer to the next.
	interval = 30 * time.Second
	// timeout bounds one request, and maxWait how long callers are kept waiting for it.
	timeout = 5 * time.Second
	maxWait = 2 * time.Second
	// lifetime is how long a key counts that was found here. By then the manager has had its turn, who notices when a key is withdrawn; if
	// it has not, the key is asked for again.
	lifetime = 15 * time.Minute
)

// Options is what a Pool needs.
type Options struct {
	// Addresses says what may be dialled. Required.
	Addresses jwksource.AddressRule
	// Now tells the time. Required.
	Now func() time.Time
	// Log gets one line for each request. Required.
	Log *slog.Logger
	// Count is told how each request ended: "fetched", or a jwksource.Kind. Required.
	Count func(outcome string)
}

// Pool holds what was found for each issuer. That outlives bundles, and so do the limits.
type Pool struct {
	options Options
	running sync.WaitGroup
	issuers map[string]*issuer // by URL
}

// NewPool returns an empty Pool.
func NewPool(options Options) *Pool { return &Pool{options: options} }

// Plan is the issuers of one bundle.
type Plan struct {
	pool    *Pool
	issuers map[string]*issuer
}

// Prepare plans for the foreign issuers among these. Until Start nothing has changed. Requests end with ctx. Prepare and Start are for one goroutine
// at a time.
func (p *Pool) Prepare(ctx context.Context, issuers []bundle.Issuer) (*Plan, error) {
	plan := &Plan{p, map[string]*issuer{}}
	for i := range issuers {
		from := issuers[i].Foreign
		if from == nil {
			continue
		}
		// Where the set is was found out by the manager, if it has to be.
		source := jwksource.Source{Issuer: issuers[i].URL, JWKSURI: from.JWKSURI, CA: from.CA, Algorithms: jwksource.Algorithms(issuers[i].Algorithms)}
		if known := p.issuers[source.Issuer]; known != nil && known.source == source {
			plan.issuers[source.Issuer] = known
			continue
		}
		added := &issuer{ctx: ctx, options: p.options, running: &p.running, source: source}
		if source.JWKSURI != "" {
			var err error
			if added.fetcher, err = jwksource.New(source, jwksource.Options{Addresses: p.options.Addresses, Timeout: timeout}); err != nil {
				return nil, fmt.Errorf("issuers[%d].foreign: %w", i, err)
			}
		}
		plan.issuers[source.Issuer] = added
	}
	return plan, nil
}

// Refetchers are what a Gate asks, by the issuers' URLs.
func (p *Plan) Refetchers() map[string]gate.Refetcher {
	refetchers := make(map[string]gate.Refetcher, len(p.issuers))
	for url, each := range p.issuers {
		refetchers[url] = each
	}
	return refetchers
}

// Start forgets what was found for issuers that are not in the plan.
func (p *Plan) Start() { p.pool.issuers = p.issuers }

// Wait returns when no request is under way. The context of Prepare has to end first.
func (p *Pool) Wait() { p.running.Wait() }

// issuer is one foreign issuer at one place.
type issuer struct {
	ctx     context.Context // that under which requests run: they outlast who asks for them
	options Options
	running *sync.WaitGroup
	source  jwksource.Source
	fetcher *jwksource.Fetcher // nil: nobody knows where the set is
	found   atomic.Pointer[keyset.Set]

	mu        sync.Mutex
	flight    *flight // nil: none is under way
	notBefore time.Time
}

// flight is one request.
type flight struct {
	landed chan struct{}
	ok     bool // once it has landed
}

// Found implements gate.Refetcher.
func (i *issuer) Found() *atomic.Pointer[keyset.Set] { return &i.found }

// Refetch implements gate.Refetcher.
func (i *issuer) Refetch(ctx context.Context) bool {
	under := i.board()
	if under == nil {
		return false
	}
	patience := time.NewTimer(maxWait)
	defer patience.Stop()
	select {
	case <-under.landed:
		return under.ok
	case <-patience.C:
	case <-ctx.Done():
	}
	return false
}

// board returns the request that is under way, which it starts if it may; nil when it may not.
func (i *issuer) board() *flight {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.flight == nil && i.fetcher != nil && i.ctx.Err() == nil && !i.options.Now().Before(i.notBefore) {
		under := &flight{landed: make(chan struct{})}
		i.flight = under
		i.running.Go(func() { i.fly(under) })
	}
	return i.flight
}

func (i *issuer) fly(under *flight) {
	outcome := "fetched"
	fetched, failure := i.fetcher.Fetch(i.ctx, nil)
	if failure == nil {
		failure = i.take(fetched.Set)
	}
	if failure != nil {
		outcome = jwksource.Outcome(failure)
	}
	under.ok = failure == nil

	i.mu.Lock()
	i.flight, i.notBefore = nil, i.options.Now().Add(interval)
	i.mu.Unlock()
	close(under.landed)
	i.options.Count(outcome)
	i.options.Log.Info("asked an issuer for its keys again, as a token named one that is not known", "issuer", i.source.Issuer, "outcome", outcome)
}

// take makes the keys of a set count, each until its own end or for lifetime.
func (i *issuer) take(set *keyset.Set) error {
	end := i.options.Now().Add(lifetime)
	keys := set.Keys()
	for n, key := range keys {
		if own := key.NotAfter(); own.IsZero() || own.After(end) {
			keys[n] = key.Until(end)
		}
	}
	bounded, err := keyset.NewSet(keys...)
	if err != nil {
		return err
	}
	i.found.Store(bounded)
	return nil
}
