package issuer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/latchkey-dev/latchkey/internal/issuer/session"
	"github.com/latchkey-dev/latchkey/internal/issuer/store"
	"github.com/latchkey-dev/latchkey/internal/panics"
	"github.com/latchkey-dev/latchkey/internal/profile"
)

const (
	databaseFile = "sessions.db"

	// drainTimeout is how long requests in flight may take when the process is told to stop: the longest is a login that waits its turn.
	drainTimeout = 10 * time.Second
	// readTimeout is how long a request may take to arrive. A sidecar has all of it before it sends any, and nobody shall hold up a stop.
	readTimeout = 5 * time.Second

	// maxConcurrentStreams bounds the requests of one connection that a client may begin before others are answered. A smaller number would hinder honest
	// clients (RFC 9113, section 6.5.2).
	maxConcurrentStreams = 100

	pruneEvery = time.Minute
	pruneBatch = 500
)

// Run runs a token service until ctx is done, and then lets requests in flight finish. It returns an error when it cannot run at all: the
// database does not open, a port is taken. Faulty volumes do not stop it; /readyz and /applied tell of them.
func Run(ctx context.Context, o Options, log *slog.Logger) (err error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	kept, located, err := database(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, kept.Close()) }()
	var tcp net.ListenConfig
	listener, err := tcp.Listen(ctx, "tcp", o.Listen.String())
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	defer func() { _ = listener.Close() }() // who served on it has closed it
	adminListener, err := tcp.Listen(ctx, "tcp", o.AdminAddress.String())
	if err != nil {
		return fmt.Errorf("--admin-address: %w", err)
	}
	defer func() { _ = adminListener.Close() }()

	metrics := newMetrics()
	kept = timed{kept, metrics.asked}
	clock := newClock(kept, o.Now, log)
	journal := newJournal(kept, clock.now, log)
	metrics.follows(journal)
	materials := &materials{dropped: func(spans int) { metrics.spans.Add(float64(spans)) }}
	defer func() { materials.load().tracer.Close() }()
	volumes := volumesOf(o, materials, located, metrics, log)
	group, ctx := errgroup.WithContext(ctx)
	h := &handler{
		materials: materials,
		sessions: &sessions{store: kept, journal: journal, guesses: &guesses{store: kept, now: clock.now, log: log,
			throttled: func(bound string) { metrics.throttles.WithLabelValues(bound).Inc() }},
			signIns: &doors{room: maxSignIns, full: errBusy}, gate: newGate(runtime.GOMAXPROCS(0)), metrics: metrics, now: clock.now},
		streams:  &streams{journal: journal, materials: materials, metrics: metrics, stopping: ctx.Done()},
		requests: &doors{room: maxRequests, full: errOverloaded},
		metrics:  metrics,
		log:      log,
	}

	for _, v := range volumes {
		group.Go(func() error { v.follow(ctx); return nil })
	}
	group.Go(func() error { clock.follow(ctx); return nil })
	group.Go(func() error { return journal.follow(ctx) })
	group.Go(func() error { prune(ctx, kept, materials, clock.now, metrics, log); return nil })
	secure := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: materials.certificate}
	group.Go(func() error { return serve(ctx, listener, secure, h.routes(), log) })
	group.Go(func() error {
		return serve(ctx, adminListener, nil, adminRoutes(materials, volumes, journal, clock, metrics), log)
	})
	if o.ProfileAddress.IsValid() {
		group.Go(func() error { return profile.Serve(ctx, o.ProfileAddress) })
	}
	log.Info("listening", "listen", o.Listen.String(), "admin", o.AdminAddress.String())
	return group.Wait()
}

// serve serves until ctx is done, and then until the requests in flight are answered. Without a tls.Config it speaks plain HTTP.
func serve(ctx context.Context, listener net.Listener, secure *tls.Config, handler http.Handler, log *slog.Logger) error {
	server := &http.Server{
		Handler:        panics.Heard(handler, log),
		TLSConfig:      secure,
		ReadTimeout:    readTimeout,
		WriteTimeout:   30 * time.Second, // streams move it on with everything they write
		IdleTimeout:    2 * time.Minute,
		MaxHeaderBytes: 32 << 10,
		HTTP2:          &http.HTTP2Config{MaxConcurrentStreams: maxConcurrentStreams},
		ErrorLog:       slog.NewLogLogger(log.Handler(), slog.LevelDebug), // port scanners and clients that hang up
	}
	listener = &bounded{Listener: listener}
	stopped := make(chan error, 1)
	go func() {
		if secure != nil {
			stopped <- server.ServeTLS(listener, "", "")
		} else {
			stopped <- server.Serve(listener)
		}
	}()
	select {
	case err := <-stopped:
		return err
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	if err := server.Shutdown(drain); err != nil {
		return errors.Join(fmt.Errorf("drain: %w", err), server.Close())
	}
	return nil
}

// prune deletes what is over, a little at a time, so that nobody waits long for the one writer, and counts what is left. Nothing depends on it but
// the size of the file.
func prune(ctx context.Context, s store.Store, m *materials, now func() time.Time, metrics *metrics, log *slog.Logger) {
	ticker := time.NewTicker(pruneEvery)
	defer ticker.Stop()
	for {
		if sessions, err := s.Sessions(ctx); err == nil { // that the store is away, the journal tells
			metrics.stored.WithLabelValues().Set(float64(sessions))
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		config := m.load().config
		if config == nil {
			continue
		}
		for {
			at := now()
			sessions, revocations, err := s.Prune(ctx, session.Horizon(at, config), at, pruneBatch)
			if err != nil && ctx.Err() == nil {
				log.Error("not pruned; trying again in a minute", "error", err)
			}
			if err != nil || max(sessions, revocations) < pruneBatch {
				break
			}
		}
	}
}
