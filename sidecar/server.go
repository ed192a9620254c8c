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
	"github.com/latchkey-dev/latchkey/sidecar/residency"
	"github.com/latchkey-dev/latchkey/sidecar/tokenservice"
)

// sidecar is what the parts of the process share.
type sidecar struct {
	log       *slog.Logger
	app       appDialer
	ports     []Port
	follower  *tokenservice.Follower
	refetch   *refetch.Pool
	metrics   *metrics
	lines     *accesslog.Log
	decisions decisions
	lobby     *lobby
	flight    *flight
	refusing  atomic.Int64 // requests that are being refused over HTTP/2
	watch     watch
	pace      residency.Pace // of whoever sweeps
	leaving   leaving
	warmUp    warmUp

	current atomic.Pointer[snapshot] // nil until the first good bundle; a request loads it once
	bundle  volume

	releasing *time.Timer // of whoever reloads
}

// Run is the sidecar from start to end, on sockets that it closes. It returns nil after ctx has ended and the drain is over, or an error when it
// could not start or go on.
func Run(ctx context.Context, config Config, sockets *Sockets, logger *slog.Logger) error {
	defer func() { _ = sockets.Close() }() // the process ends
	// What works for requests in flight outlives ctx, until the drain is over.
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()

	follower, err := tokenservice.NewFollower(config.StateDir, logger)
	if err != nil {
		return fmt.Errorf("--state: %w", err)
	}
	defer func() { stop(); follower.Wait() }()
	s := &sidecar{log: logger, app: appDialer{hosts: config.AppHosts}, ports: config.Ports, follower: follower, flight: newFlight()}
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

	return s.serve(ctx, background, stop, config, sockets)
}

// serve serves until ctx has ended and the drain is over, or until a listener breaks. Stop ends background.
func (s *sidecar) serve(ctx, background context.Context, stop func(), config Config, sockets *Sockets) (err error) {
	own := s.distribute(background, config, sockets)
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
		filetree.Watch(background, config.BundleDir, func(tree filetree.Tree, err error) { s.reload(background, tree, err) })
	})
	running.Go(func() { s.watchOver(background) })
	s.warnOfNeighbours(config)
	s.log.Info("serving", "addresses", sockets.addresses(), "app", config.AppHosts)
	s.release()

	select {
	case <-ctx.Done():
		s.drain(background, config.Drain) // see leave.go
	case err = <-failed:
		err = fmt.Errorf("serving: %w", err)
	}
	stop() // ends what hangs on: hijacked connections, the watch, the streams
	s.watch.cancel()
	for _, each := range own {
		_ = each.server.Close()
	}
	s.lobby.close() // whatever is still open has had its time
	s.leaving.closing.Wait()
	running.Wait()
	if s.releasing != nil {
		s.releasing.Stop()
	}
	_ = s.flight.wait(context.WithoutCancel(ctx))
	s.log.Info("stopped")
	return err
}

// socket is one bound listener and the server that is to serve it.
type socket struct {
	listener net.Listener
	server   *http.Server
}

// distribute brings the app's sockets to the lobby, and returns those that are the sidecar's own.
func (s *sidecar) distribute(background context.Context, config Config, sockets *Sockets) (own []socket) {
	for _, port := range config.Ports {
		handler := &front{s, port.App}
		s.lobby.addDoor(sockets.on(port.listens()), func(limits bundle.Limits, elsewhere func(net.Conn)) *servers {
			return s.newFrontServers(background, handler, limits, elsewhere)
		})
	}
	mine := func(port uint16, handler func(netip.Addr) http.Handler) {
		for _, listener := range sockets.on(port) {
			own = append(own, socket{&newest{Listener: listener}, s.newServer(background, handler(addressOf(listener).Addr()), bundle.Limits{}.WithDefaults())})
		}
	}
	asked := newProbes(config, s.app, func() { s.leave(background) }).handler()
	mine(config.ProbePort, func(netip.Addr) http.Handler { return asked })
	mine(config.AdminPort, func(at netip.Addr) http.Handler {
		if at == config.AppHosts[0] {
			return s.loopbackHandler(config.Profile)
		}
		return s.adminHandler()
	})
	return own
}

// newFrontServers serve the app's callers.
func (s *sidecar) newFrontServers(background context.Context, handler http.Handler, limits bundle.Limits, elsewhere func(net.Conn)) *servers {
	other := s.newServer(background, handler, limits)
	other.Protocols.SetHTTP2(true)
	other.Protocols.SetUnencryptedHTTP2(true)
	other.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: int(limits.MaxStreamsPerConnection), WriteByteTimeout: limits.StallTimeout}
	plain := http1.NewServer(background, other.Handler, elsewhere, http1.Limits{
		HeadBytes: other.MaxHeaderBytes, HeadTimeout: other.ReadHeaderTimeout, IdleTimeout: other.IdleTimeout, StallTimeout: limits.StallTimeout,
	})
	expectAskers(other)
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
