package sidecar

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/latchkey-dev/latchkey/internal/bundle"
	"github.com/latchkey-dev/latchkey/internal/filetree"
	"github.com/latchkey-dev/latchkey/internal/jwksource"
	"github.com/latchkey-dev/latchkey/internal/panics"
	"github.com/latchkey-dev/latchkey/sidecar/accesslog"
	"github.com/latchkey-dev/latchkey/sidecar/http1"
	"github.com/latchkey-dev/latchkey/sidecar/refetch"
	"github.com/latchkey-dev/latchkey/sidecar/tokenservice"
)

// sidecar is what the parts of the process share.
type sidecar struct {
	log       *slog.Logger
	appHost   netip.Addr
	ports     []uint16
	follower  *tokenservice.Follower
	refetch   *refetch.Pool
	metrics   *metrics
	lines     *accesslog.Log
	decisions decisions
	lobby     *lobby
	flight    *flight
	watch     watch
	draining  atomic.Bool
	warmUp    warmUp

	current atomic.Pointer[snapshot] // nil until the first good bundle; a request loads it once
	bundle  volume
}

// Run is the sidecar from start to end. It returns nil after ctx has ended and the drain is over, or an error when it could not start or go
// on.
func Run(ctx context.Context, config Config, logger *slog.Logger) error {
	// What works for requests in flight outlives ctx, until the drain is over.
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()

	follower, err := tokenservice.NewFollower(config.StateDir, logger)
	if err != nil {
		return fmt.Errorf("--state: %w", err)
	}
	defer func() { stop(); follower.Wait() }()
	s := &sidecar{log: logger, appHost: config.AppHost, ports: config.Ports, follower: follower, flight: newFlight()}
	s.lobby = newLobby(s.current.Load, func(limit string) { s.metrics.turned.WithLabelValues(limit).Inc() })
	s.metrics = newMetrics(s.flight, s.lobby, follower, func() string { return s.bundle.get().Applied })
	s.lines = accesslog.New(logger.Handler(), s.metrics.linesDropped.Inc) //nolint:contextcheck // lines are about requests that are over
	defer s.lines.Close()
	s.watch.tick.Store(time.Now().UnixNano())
	s.refetch = refetch.NewPool(refetch.Options{
		Addresses: jwksource.Strict, Now: time.Now, Log: logger, Count: func(outcome string) { s.metrics.refetches.WithLabelValues(outcome).Inc() },
	})
	defer func() { stop(); s.refetch.Wait() }()
	defer s.warmUp.stop()
	defer func() {
		if current := s.current.Load(); current != nil {
			current.app.close()
			current.tracer.Close()
		}
	}()

	// The first bundle before the first request, when there is one. Without, requests are refused until it comes.
	tree, err := filetree.Read(config.BundleDir)
	s.load(background, tree, err)

	own, err := s.listen(background, config)
	if err != nil {
		s.lobby.close()
		return err
	}
	failed := make(chan error, len(own)+1)
	fail := func(err error) {
		select {
		case failed <- err:
		default: // one is enough
		}
	}
	var running sync.WaitGroup
	for _, each := range own {
		running.Go(func() {
			if ended := each.server.Serve(each.listener); !errors.Is(ended, http.ErrServerClosed) {
				fail(ended)
			}
		})
	}
	s.lobby.accept(fail)
	running.Go(func() {
		filetree.Watch(background, config.BundleDir, func(tree filetree.Tree, err error) { s.load(background, tree, err) })
	})
	running.Go(func() { s.watchOver(background) })
	logger.Info("serving", "podIPs", config.PodIPs, "ports", config.Ports, "app", config.AppHost)

	select {
	case <-ctx.Done():
		s.drain(background, config.Drain)
	case err = <-failed:
		err = fmt.Errorf("serving: %w", err)
	}
	stop() // ends what hangs on: hijacked connections, the watch, the streams
	s.watch.cancel()
	for _, each := range own {
		_ = each.server.Close()
	}
	s.lobby.close() // whatever is still open has had its time
	running.Wait()
	_ = s.flight.wait(context.WithoutCancel(ctx))
	logger.Info("stopped")
	return err
}

// socket is one bound listener and the server that is to serve it.
type socket struct {
	listener net.Listener
	server   *http.Server
}

// listen binds every socket or none. Those of the app go to the lobby; those that it returns are the sidecar's own.
func (s *sidecar) listen(background context.Context, config Config) (own []socket, err error) {
	for _, port := range config.Ports {
		listeners, err := listenAll(background, config.PodIPs, port)
		if err != nil {
			return nil, err
		}
		handler := &front{s, port}
		s.lobby.addDoor(listeners, func(limits bundle.Limits, elsewhere func(net.Conn)) *servers {
			return s.newFrontServers(background, handler, limits, elsewhere)
		})
	}
	for _, each := range []struct {
		addresses []netip.Addr
		port      uint16
		handler   http.Handler
	}{
		{config.PodIPs, config.ProbePort, newProbes(config.Probes).handler()},
		{config.PodIPs, config.AdminPort, s.adminHandler()},
		{[]netip.Addr{config.AppHost}, config.AdminPort, s.loopbackHandler()},
	} {
		listeners, err := listenAll(background, each.addresses, each.port)
		for _, listener := range listeners {
			own = append(own, socket{listener, s.newServer(background, each.handler, bundle.Limits{}.WithDefaults())})
		}
		if err != nil {
			for _, bound := range own {
				_ = bound.listener.Close() // the error that matters is why not all could be bound
			}
			return nil, err
		}
	}
	return own, nil
}

// newFrontServers serve the app's callers.
func (s *sidecar) newFrontServers(background context.Context, handler http.Handler, limits bundle.Limits, elsewhere func(net.Conn)) *servers {
	other := s.newServer(background, handler, limits)
	other.Protocols.SetHTTP2(true)
	other.Protocols.SetUnencryptedHTTP2(true)
	other.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: int(limits.MaxStreamsPerConnection)}
	plain := http1.NewServer(background, other.Handler, elsewhere, http1.Limits{
		HeadBytes: other.MaxHeaderBytes, HeadTimeout: other.ReadHeaderTimeout, IdleTimeout: other.IdleTimeout,
	})
	return &servers{plain, other}
}

func (s *sidecar) newServer(background context.Context, handler http.Handler, limits bundle.Limits) *http.Server {
	server := &http.Server{
		Handler:                      panics.Heard(handler, s.log),
		Protocols:                    new(http.Protocols),
		DisableGeneralOptionsHandler: true, // OPTIONS * is judged like any other request
		ReadHeaderTimeout:            limits.HeaderTimeout,
		IdleTimeout:                  limits.IdleTimeout,
		MaxHeaderBytes:               int(limits.MaxHeaderBytes),
		BaseContext:                  func(net.Listener) context.Context { return background },
		ErrorLog:                     slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	server.Protocols.SetHTTP1(true)
	return server
}

// farewell is how long a connection that is idle when the pod begins to leave may still bring a request, and hear with its answer that it was the
// last. One that is closed at once loses the request that is on its way.
const farewell = time.Second

// drain lets requests in flight finish. Meanwhile it goes on accepting, since callers may not know yet that the pod is leaving, but tells
// each with its answer to call elsewhere next time.
func (s *sidecar) drain(background context.Context, limit time.Duration) {
	s.log.Info("draining", "inFlight", s.flight.n.Load(), "connections", s.lobby.open.n.Load(), "limit", limit.String())
	s.draining.Store(true)
	bounded, cancel := context.WithTimeout(background, limit)
	defer cancel()
	before := s.lobby.leave()
	s.lobby.open.waitFor(bounded, farewell)
	gone := make(chan error, 1)
	go func() { gone <- shutdown(bounded, before) }()

	err := s.flight.wait(bounded)
	s.lobby.stop()
	s.lobby.open.waitFor(bounded, farewell) // those accepted last may still be sending their request
	err = errors.Join(err, s.flight.wait(bounded), shutdown(bounded, s.lobby.all()), <-gone)
	if err != nil {
		s.log.Warn("requests were cut off at the end of the drain", "inFlight", s.flight.n.Load())
	}
}
