package sidecar

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/latchkey-dev/latchkey/internal/bundle"
	"github.com/latchkey-dev/latchkey/internal/filetree"
	"github.com/latchkey-dev/latchkey/internal/tracing"
	"github.com/latchkey-dev/latchkey/sidecar/gate"
	"github.com/latchkey-dev/latchkey/sidecar/residency"
	"github.com/latchkey-dev/latchkey/sidecar/tokenservice"
)

// snapshot is one bundle in force: immutable, swapped whole.
type snapshot struct {
	accessLog bundle.AccessLog
	tracer    *tracing.Tracer // nil: nobody asks for spans
	gate      *gate.Gate
	traffic   traffic
	app       *app
	routes    *tokenservice.Routes // nil: the policy offers no sign-in
	service   *tokenservice.Client // of routes
}

// limits are those of the snapshot; before the first, which is nil, the defaults.
func (s *snapshot) limits() bundle.Limits {
	if s == nil {
		return bundle.Limits{}.WithDefaults()
	}
	return s.traffic.limits
}

// traffic is what a snapshot says about connections.
type traffic struct {
	upstream    bundle.Upstream  // with defaults
	limits      bundle.Limits    // with defaults
	certificate *tls.Certificate // nil: plain HTTP
}

// volumeState is what is known of the bundle's directory. Hashes are filetree.Hash of all that it held.
type volumeState struct {
	Applied  string `json:"applied,omitempty"`  // what is in force
	Rejected string `json:"rejected,omitempty"` // what is there instead, and is not in force
	Error    string `json:"error,omitempty"`    // why not
}

// bundleVolume is the name that the volume has in the pod.
const bundleVolume = "latchkey-bundle"

// volume guards volumeState.
type volume struct {
	mu    sync.Mutex
	state volumeState
}

func (v *volume) get() volumeState {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.state
}

func (v *volume) set(state volumeState) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.state = state
}

// errNoBundle says that the directory can be read and holds no bundle.
var errNoBundle = errors.New(bundle.FileName + " is not there")

// load brings what the bundle's directory holds into force. When it cannot, the last good bundle stays, and the sidecar says so: in its
// state, in its log and in its metrics. Calls come one after the other. What a bundle sets going ends with ctx.
func (s *sidecar) load(ctx context.Context, tree filetree.Tree, readErr error) {
	state := s.bundle.get()
	err := readErr
	hash := ""
	if err == nil {
		hash = filetree.Hash(tree)
		if hash != state.Applied {
			err = s.apply(ctx, tree)
		}
	}
	if errors.Is(err, errNoBundle) && state.Applied == "" {
		// The pod is faster than the manager. Nothing was rejected: there is nothing yet.
		s.log.Info("waiting for the first bundle; until then requests are refused", "file", bundle.FileName)
		return
	}
	if err != nil {
		if state.Rejected == hash && state.Error == err.Error() {
			return
		}
		s.bundle.set(volumeState{Applied: state.Applied, Rejected: hash, Error: err.Error()})
		s.metrics.bundles.WithLabelValues("rejected").Inc()
		s.metrics.rejected.Set(1)
		s.log.Error("bundle not applied", "inForce", state.Applied, "rejected", hash, "error", err)
		return
	}
	s.bundle.set(volumeState{Applied: hash})
	s.metrics.rejected.Set(0)
	if hash == state.Applied {
		return // it was in force all the while: nothing to do again
	}
	s.metrics.bundles.WithLabelValues("applied").Inc()
	s.metrics.appliedAt.Set(float64(time.Now().Unix()))
	s.warmUp.begin(s.endWarmUp)
	s.log.Info("bundle applied", "hash", hash, "keyIDs", s.current.Load().gate.KeyIDs())
}

// releaseAfter is the least time after which what a bundle took is given back, and it is twice that at most. All pods of a policy get a bundle at the same
// time: the milliseconds that giving back takes are better used by those that have not applied it yet.
const releaseAfter = 3 * time.Second

// reload is load while requests are served. What compiling took, and what was in force before, is given back, a little later.
func (s *sidecar) reload(ctx context.Context, tree filetree.Tree, readErr error) {
	s.load(ctx, tree, readErr)
	if s.releasing != nil {
		s.releasing.Stop()
	}
	s.releasing = time.AfterFunc(releaseAfter+rand.N(releaseAfter), s.release) //nolint:gosec // any will do
}

func (s *sidecar) release() {
	if err := residency.Release(); err != nil {
		s.log.Warn("memory not given back", "error", err)
	}
}

// apply builds a snapshot whole and swaps it in, or changes nothing.
func (s *sidecar) apply(ctx context.Context, tree filetree.Tree) error {
	data, there := tree[bundle.FileName]
	if !there {
		return errNoBundle
	}
	parsed, err := bundle.Parse(data)
	if err != nil {
		return fmt.Errorf("%s: %w", bundle.FileName, err)
	}
	services := map[string]bundle.TokenService{}
	for _, issuer := range parsed.Issuers {
		if issuer.TokenService != nil {
			services[issuer.URL] = *issuer.TokenService
		}
	}
	follow, err := s.follower.Prepare(services)
	if err != nil {
		return fmt.Errorf("%s: %w", bundle.FileName, err)
	}
	refetch, err := s.refetch.Prepare(ctx, parsed.Issuers)
	if err != nil {
		return fmt.Errorf("%s: %w", bundle.FileName, err)
	}
	next := &snapshot{traffic: traffic{upstream: parsed.Upstream.WithDefaults(), limits: parsed.Limits.WithDefaults()}}
	if parsed.Certificate != nil {
		if next.traffic.certificate, err = parsed.Certificate.Pair(); err != nil {
			return fmt.Errorf("%s: tls: %w", bundle.FileName, err)
		}
	}
	if next.gate, err = gate.New(parsed, follow.Sets(), refetch.Refetchers()); err != nil {
		return fmt.Errorf("%s: %w", bundle.FileName, err)
	}
	if session := parsed.Session; session != nil {
		if next.service, err = tokenservice.NewClient(services[session.Issuer]); err != nil {
			return fmt.Errorf("%s: session: %w", bundle.FileName, err)
		}
		if next.routes, err = tokenservice.NewRoutes(session, next.service, s.refuseRoute, s.log); err != nil {
			return fmt.Errorf("%s: %w", bundle.FileName, err)
		}
	}

	last := s.current.Load()
	if last != nil && last.traffic.upstream == next.traffic.upstream {
		next.app = last.app // with its connections
	} else {
		next.app = newApp(s.app, s.ports, next.traffic.upstream, s.log)
	}
	next.accessLog = parsed.AccessLog
	var tracer *tracing.Tracer
	if last != nil {
		tracer = last.tracer
	}
	next.tracer = tracing.Renew(tracer, parsed.Tracing, "latchkey-sidecar", func(spans int) { s.metrics.spansDropped.Add(float64(spans)) }) //nolint:contextcheck // what is queued is sent after ctx has ended, too
	follow.Start(ctx)
	refetch.Start()
	s.current.Store(next)
	s.lobby.admit(next.traffic.limits)
	if last != nil && last.service != nil {
		last.service.Close()
	}
	if last != nil && last.app != next.app {
		last.app.close()
	}
	if last != nil && last.tracer != next.tracer {
		last.tracer.Close()
	}
	return nil
}
