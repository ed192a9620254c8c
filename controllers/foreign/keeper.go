package foreign

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/jwksource"
)

const (
	// fetchTimeout bounds one fetch, discovery included.
	fetchTimeout = 10 * time.Second
	// slots bounds how many fetches run at once. A source that hangs holds one for fetchTimeout and then waits for lastRetry at
	// most, so a thousand of them leave half free.
	slots = 32
)

// Options is what a Keeper needs.
type Options struct {
	// Addresses says what may be dialled. Required.
	Addresses jwksource.AddressRule
	// Clock tells when to fetch again. Required.
	Clock clock.Clock
}

// Keeper fetches sources again and again, as long as there is somebody who needs them. It is a manager.Runnable for the leader.
type Keeper struct {
	options Options
	slots   chan struct{}
	changed chan event.GenericEvent

	mu      sync.Mutex
	running context.Context // that of Start, under which Keep starts what it is asked for later
	fetches sync.WaitGroup
	kept    map[jwksource.Source]*keeping
}

// keeping is one source that is kept up to date.
type keeping struct {
	source  jwksource.Source
	fetcher *jwksource.Fetcher
	since   time.Time
	owners  map[types.NamespacedName]bool
	state   jwksource.State
	tried   bool
	stop    context.CancelFunc // nil until it is started
}

// New returns a Keeper that fetches nothing before Start.
func New(options Options) (*Keeper, error) {
	if options.Addresses == nil || options.Clock == nil {
		return nil, errors.New("keep foreign keys: Addresses and Clock are required")
	}
	return &Keeper{
		options: options, slots: make(chan struct{}, slots), changed: make(chan event.GenericEvent, slots),
		kept: map[jwksource.Source]*keeping{},
	}, nil
}

// Changed sends each policy of whose sources Keep would now tell something else.
func (k *Keeper) Changed() <-chan event.GenericEvent { return k.changed }

// Start fetches until ctx ends.
func (k *Keeper) Start(ctx context.Context) error {
	k.mu.Lock()
	k.running = ctx
	for _, each := range k.kept {
		k.start(ctx, each)
	}
	k.mu.Unlock()
	<-ctx.Done()
	k.fetches.Wait()
	return nil
}

// Keep makes sources all that a policy needs, and tells what is known of each. What nobody needs any more is forgotten.
func (k *Keeper) Keep(policy types.NamespacedName, sources []jwksource.Source) ([]jwksource.State, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for source, each := range k.kept {
		if each.owners[policy] && !slices.Contains(sources, source) {
			k.leave(policy, each)
		}
	}
	states := make([]jwksource.State, 0, len(sources))
	for _, source := range sources {
		each := k.kept[source]
		if each == nil {
			var err error
			if each, err = k.add(source); err != nil {
				return nil, err
			}
		}
		each.owners[policy] = true
		state := each.state
		state.Pending = !each.tried && k.options.Clock.Since(each.since) < fetchTimeout
		states = append(states, state)
	}
	return states, nil
}

func (k *Keeper) add(source jwksource.Source) (*keeping, error) {
	fetcher, err := jwksource.New(source, jwksource.Options{Addresses: k.options.Addresses, Timeout: fetchTimeout})
	if err != nil {
		return nil, fmt.Errorf("keep foreign keys: %w", err)
	}
	added := &keeping{source: source, fetcher: fetcher, since: k.options.Clock.Now(), owners: map[types.NamespacedName]bool{}}
	k.kept[source] = added
	observeAge(source, time.Time{})
	if k.running != nil && k.running.Err() == nil {
		k.start(k.running, added)
	}
	return added, nil
}

func (k *Keeper) leave(policy types.NamespacedName, each *keeping) {
	delete(each.owners, policy)
	if len(each.owners) > 0 {
		return
	}
	delete(k.kept, each.source)
	if each.stop != nil {
		each.stop()
	}
	for other := range k.kept {
		if label(other) == label(each.source) {
			return // the metric is that one's as well
		}
	}
	forget(each.source)
}

func (k *Keeper) start(running context.Context, each *keeping) {
	ctx, stop := context.WithCancel(running)
	each.stop = stop
	k.fetches.Go(func() { k.keep(ctx, each) })
}

// keep is the life of one source.
func (k *Keeper) keep(ctx context.Context, each *keeping) {
	failures := 0
	for {
		fetched, failure, ran := k.fetch(ctx, each)
		if !ran {
			return
		}
		failures++
		if failure == nil {
			failures = 0
		}
		for _, policy := range k.learn(each, fetched, failure) {
			select {
			case k.changed <- event.GenericEvent{Object: named(policy)}:
			case <-ctx.Done():
				return
			}
		}
		var lifetime time.Duration
		if fetched != nil {
			lifetime = fetched.Lifetime
		}
		timer := k.options.Clock.NewTimer(pause(failures, lifetime, rand.Float64())) //nolint:gosec // spreads load, hides nothing
		select {
		case <-timer.C():
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// fetch waits for its turn; ran is false when ctx ended meanwhile.
func (k *Keeper) fetch(ctx context.Context, each *keeping) (fetched *jwksource.Fetched, failure *jwksource.Failure, ran bool) {
	select {
	case k.slots <- struct{}{}:
		defer func() { <-k.slots }()
	case <-ctx.Done():
		return nil, nil, false
	}
	k.mu.Lock()
	last := each.state.Fetched
	k.mu.Unlock()
	fetched, err := each.fetcher.Fetch(ctx, last)
	errors.As(err, &failure) // always is one
	return fetched, failure, ctx.Err() == nil
}

// learn takes in the outcome of a fetch and returns the policies for which it makes a difference.
func (k *Keeper) learn(each *keeping, fetched *jwksource.Fetched, failure *jwksource.Failure) []types.NamespacedName {
	k.mu.Lock()
	defer k.mu.Unlock()
	before, first := each.state, !each.tried
	each.tried, each.state.Failure = true, failure
	if fetched != nil {
		each.state.Fetched, each.state.At = fetched, k.options.Clock.Now()
	}
	if len(each.owners) == 0 {
		return nil // nobody has needed it since
	}
	observe(each.source, each.state)
	if !first && alike(before, each.state) {
		return nil
	}
	concerned := make([]types.NamespacedName, 0, len(each.owners))
	for policy := range each.owners {
		concerned = append(concerned, policy)
	}
	return concerned
}

// alike says whether two states are the same to who uses them. When a set was fetched matters to nobody while fetching goes well.
func alike(a, b jwksource.State) bool {
	switch {
	case (a.Failure == nil) != (b.Failure == nil), a.Failure != nil && *a.Failure != *b.Failure, (a.Fetched == nil) != (b.Fetched == nil):
		return false
	case a.Fetched == nil || a.Fetched == b.Fetched || b.Fetched.NotModified:
		return true
	}
	return a.Fetched.JWKSURI == b.Fetched.JWKSURI && a.Fetched.Set.Fingerprint() == b.Fetched.Set.Fingerprint() &&
		slices.Equal(a.Fetched.Set.Refused(), b.Fetched.Set.Refused())
}

func named(policy types.NamespacedName) *v1alpha1.AuthPolicy {
	object := &v1alpha1.AuthPolicy{}
	object.Namespace, object.Name = policy.Namespace, policy.Name
	return object
}
