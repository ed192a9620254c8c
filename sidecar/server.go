package sidecar

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/latchkey-dev/latchkey/internal/filetree"
	"github.com/latchkey-dev/latchkey/internal/jwksource"
	"github.com/latchkey-dev/latchkey/internal/panics"
	"github.com/latchkey-dev/latchkey/sidecar/refetch"
	"github.com/latchkey-dev/latchkey/sidecar/tokenservice"
)

// sidecar is what the parts of the process share.
type sidecar struct {
	log       *slog.Logger
	app       *app
	follower  *tokenservice.Follower
	refetch   *refetch.Pool
	metrics   *metrics
	decisions decisions
	flight    *flight
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
	s := &sidecar{log: logger, app: newApp(config.AppHost, logger), follower: follower, flight: newFlight()}
	s.metrics = newMetrics(s.flight, follower)
	s.refetch = refetch.NewPool(refetch.Options{
		Addresses: jwksource.Strict, Now: time.Now, Log: logger, Count: func(outcome string) { s.metrics.refetches.WithLabelValues(outcome).Inc() },
	})
	defer func() { stop(); s.refetch.Wait() }()
	defer s.app.close()
	defer s.warmUp.stop()

	// The first bundle before the first request, when there is one. Without, requests are refused until it comes.
	tree, err := filetree.Read(config.BundleDir)
	s.load(background, tree, err)

	traffic, own, err := s.listen(background, config)
	if err != nil {
		return err
	}
	failed := make(chan error, len(traffic)+len(own))
	var running sync.WaitGroup
	for _, each := range slices.Concat(traffic, own) {
		running.Go(func() {
			if ended := each.server.Serve(each.listener); !errors.Is(ended, http.ErrServerClosed) {
				failed <- ended
			}
		})
	}
	running.Go(func() {
		filetree.Watch(background, config.BundleDir, func(tree filetree.Tree, err error) { s.load(background, tree, err) })
	})
	logger.Info("serving", "podIPs", config.PodIPs, "ports", config.Ports, "app", config.AppHost)

	select {
	case <-ctx.Done():
		s.drain(background, config.Drain, traffic)
	case err = <-failed:
		err = fmt.Errorf("serving: %w", err)
	}
	stop() // ends what hangs on: hijacked connections, the watch, the streams
	for _, each := range slices.Concat(traffic, own) {
		_ = each.server.Close() // whatever is still open has had its time
	}
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

// listen binds every socket or none. Traffic is for the app, own is the sidecar's.
func (s *sidecar) listen(background context.Context, config Config) (traffic, own []socket, err error) {
	bind := func(addresses []netip.Addr, port uint16, server *http.Server) []socket {
		if err != nil {
			return nil
		}
		var listeners []net.Listener
		listeners, err = listenAll(background, addresses, port)
		sockets := make([]socket, 0, len(listeners))
		for _, listener := range listeners {
			sockets = append(sockets, socket{listener, server})
		}
		return sockets
	}
	for _, port := range config.Ports {
		server := s.newServer(background, &front{s, port})
		server.Protocols.SetUnencryptedHTTP2(true)
		traffic = append(traffic, bind(config.PodIPs, port, server)...)
	}
	probeServer := s.newServer(background, newProbes(config.Probes).handler())
	own = append(own, bind(config.PodIPs, config.ProbePort, probeServer)...)
	own = append(own, bind(config.PodIPs, config.AdminPort, s.newServer(background, s.adminHandler()))...)
	own = append(own, bind([]netip.Addr{config.AppHost}, config.AdminPort, s.newServer(background, s.loopbackHandler()))...)
	if err != nil {
		for _, each := range slices.Concat(traffic, own) {
			_ = each.listener.Close() // the error that matters is why not all could be bound
		}
		return nil, nil, err
	}
	return traffic, own, nil
}

func (s *sidecar) newServer(background context.Context, handler http.Handler) *http.Server {
	server := &http.Server{
		Handler:                      panics.Heard(handler, s.log),
		Protocols:                    new(http.Protocols),
		DisableGeneralOptionsHandler: true, // OPTIONS * is judged like any other request
		ReadHeaderTimeout:            10 * time.Second,
		IdleTimeout:                  5 * time.Minute, // longer than common proxies keep theirs, so that they close first
		MaxHeaderBytes:               64 << 10,
		BaseContext:                  func(net.Listener) context.Context { return background },
		ErrorLog:                     slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	server.Protocols.SetHTTP1(true)
	return server
}

// drain lets requests in flight finish. Meanwhile it goes on accepting, since callers may not know yet that the pod is leaving, but tells
// each with its answer to call elsewhere next time.
func (s *sidecar) drain(background context.Context, limit time.Duration, traffic []socket) {
	s.log.Info("draining", "inFlight", s.flight.n.Load(), "limit", limit.String())
	s.draining.Store(true)
	bounded, cancel := context.WithTimeout(background, limit)
	defer cancel()
	for _, each := range traffic {
		each.server.SetKeepAlivesEnabled(false)
	}
	err := s.flight.wait(bounded)
	for _, each := range traffic {
		err = errors.Join(err, each.server.Shutdown(bounded))
	}
	if err != nil {
		s.log.Warn("requests were cut off at the end of the drain", "inFlight", s.flight.n.Load())
	}
}
