package tokenservice

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/latchkey-dev/latchkey/internal/bundle"
	"github.com/latchkey-dev/latchkey/internal/revocation"
)

// Follower keeps one set of revocations for each token service in step with that service. The sets outlive bundles and, through the
// state directory, the process.
type Follower struct {
	dir     *stateDir
	log     *slog.Logger
	running sync.WaitGroup

	mu      sync.Mutex
	streams map[string]*stream // by the issuer's URL
}

// NewFollower returns a Follower that follows nobody yet and keeps its state in dir.
func NewFollower(dir string, log *slog.Logger) (*Follower, error) {
	if err := checkWritable(dir); err != nil {
		return nil, err
	}
	return &Follower{dir: &stateDir{path: dir}, log: log, streams: map[string]*stream{}}, nil
}

// Plan is whom to follow from now on. Until Start nothing has changed.
type Plan struct {
	follower *Follower
	services map[string]bundle.TokenService
	clients  map[string]*Client
	sets     map[string]*revocation.Set
	whole    map[string]*atomic.Bool
}

// Prepare plans to follow these token services, by the URL of the issuer that each speaks for, and nobody else. The error names the field
// of the bundle that is wrong. Prepare and Start are for one goroutine at a time.
func (f *Follower) Prepare(services map[string]bundle.TokenService) (*Plan, error) {
	plan := &Plan{
		follower: f, services: services, clients: map[string]*Client{}, sets: map[string]*revocation.Set{}, whole: map[string]*atomic.Bool{},
	}
	for issuer, service := range services {
		client, err := NewClient(service)
		if err != nil {
			return nil, fmt.Errorf("issuer %s: %w", issuer, err)
		}
		plan.clients[issuer] = client
	}

	f.mu.Lock()
	defer f.mu.Unlock()
	for issuer := range services {
		if running := f.streams[issuer]; running != nil {
			plan.sets[issuer], plan.whole[issuer] = running.set, running.whole // the service may have moved; what it revoked stays revoked
		} else {
			plan.sets[issuer], plan.whole[issuer] = f.load(issuer)
		}
	}
	return plan, nil
}

// Sets are the revocations of each issuer's token service. They begin with what the state directory holds, and grow from Start on.
func (p *Plan) Sets() map[string]*revocation.Set { return p.sets }

// Start carries the plan out. A stream that is to go on at the same place is not disturbed; what is started ends with ctx, see Wait.
func (p *Plan) Start(ctx context.Context) {
	f := p.follower
	f.mu.Lock()
	defer f.mu.Unlock()
	for issuer, running := range f.streams {
		if service, wanted := p.services[issuer]; !wanted || service != running.service {
			running.stop()
			delete(f.streams, issuer)
		}
	}
	for issuer := range p.services {
		if f.streams[issuer] == nil {
			f.streams[issuer] = f.start(ctx, issuer, p)
		}
	}
}

// Wait returns when everything that the Follower started has ended, and the state is written.
func (f *Follower) Wait() { f.running.Wait() }

// StreamState is where one stream is.
type StreamState struct {
	Issuer    string
	Connected bool      // and everything up to Number, at that time, was received
	Whole     bool      // everything was received once, by this process or by an earlier one that saved it
	Confirmed time.Time // when the set last held everything; zero: never
	Number    int64
	Entries   int
}

// State tells of every stream, sorted by issuer.
func (f *Follower) State() []StreamState {
	f.mu.Lock()
	defer f.mu.Unlock()
	states := make([]StreamState, 0, len(f.streams))
	for _, issuer := range slices.Sorted(maps.Keys(f.streams)) {
		s := f.streams[issuer]
		states = append(states, StreamState{
			Issuer: issuer, Connected: s.connected.Load(), Whole: s.whole.Load(), Confirmed: s.set.Confirmed(),
			Number: s.set.Position().Number, Entries: s.set.Len(),
		})
	}
	return states
}

func (f *Follower) start(ctx context.Context, issuer string, p *Plan) *stream {
	ctx, cancel := context.WithCancel(ctx)
	s := &stream{
		service: p.services[issuer], client: p.clients[issuer], set: p.sets[issuer], whole: p.whole[issuer], dir: f.dir, file: stateFile(issuer), changed: make(chan struct{}, 1),
		log: f.log.With("issuer", issuer), now: time.Now, cancel: cancel, ended: make(chan struct{}),
	}
	f.running.Go(func() {
		defer close(s.ended)
		var keeping sync.WaitGroup
		keeping.Go(func() { s.keep(ctx) })
		s.follow(ctx)
		keeping.Wait()
	})
	return s
}

// load reads what an earlier process of this pod left. A file that cannot be read costs nothing but the time until the service has sent
// everything again.
func (f *Follower) load(issuer string) (set *revocation.Set, whole *atomic.Bool) {
	whole = new(atomic.Bool)
	set, err := f.dir.load(stateFile(issuer), time.Now())
	if errors.Is(err, fs.ErrNotExist) {
		return revocation.NewSet(maxRevocations), whole
	}
	if err != nil {
		f.log.Warn("starting without saved revocations", "issuer", issuer, "error", err)
		return revocation.NewSet(maxRevocations), whole
	}
	whole.Store(true)
	return set, whole
}
