package tokenservice

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/latchkey-dev/latchkey/internal/bundle"
	"github.com/latchkey-dev/latchkey/internal/revocation"
)

// stream follows one token service into one set. Two goroutines share it: follow writes the set, keep writes it to disk.
type stream struct {
	service   bundle.TokenService
	client    *Client
	set       *revocation.Set
	dir       *stateDir
	file      string        // in dir
	changed   chan struct{} // of capacity 1: the set is newer than the file
	whole     *atomic.Bool  // everything that the service had to say was received once, by this process or an earlier one
	connected atomic.Bool
	log       *slog.Logger
	now       func() time.Time
	cancel    context.CancelFunc
	ended     chan struct{} // closed when nothing more will be done to the set and its file
}

const (
	// silence is how long a stream may say nothing before it is given up: two heartbeats may be late or lost.
	silence = 3 * revocation.HeartbeatSeconds * time.Second

	// A token service that restarts is back within a second or two. Pods that lost it together do not come back together.
	firstRetry = 50 * time.Millisecond
	lastRetry  = 2 * time.Second
)

// stop returns when set and file are left alone, so that they can follow another stream: numbers of the old one would hide entries of the
// new.
func (s *stream) stop() {
	s.cancel()
	<-s.ended
}

// follow connects, again and again, until ctx ends.
func (s *stream) follow(ctx context.Context) {
	defer s.client.Close()
	retry, level := firstRetry, slog.LevelWarn
	for {
		err := s.connect(ctx)
		if s.connected.Swap(false) {
			retry, level = firstRetry, slog.LevelWarn
		}
		if ctx.Err() != nil {
			return
		}
		s.log.Log(ctx, level, "revocation stream not followed; what is known stays in force", "error", err)
		level = slog.LevelDebug // once for each outage is enough
		select {
		case <-ctx.Done():
			return
		case <-time.After(retry/2 + rand.N(retry)): //nolint:gosec // spreads retries; nobody gains from guessing it
		}
		retry = min(2*retry, lastRetry)
	}
}

// connect reads one connection to its end. It returns nil only when the service ended the stream.
func (s *stream) connect(parent context.Context) error {
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	watchdog := time.AfterFunc(silence, func() { cancel(errors.New("nothing heard for " + silence.String())) })
	defer watchdog.Stop()

	at := s.set.Position()
	endpoint := s.client.endpoint("/revocations")
	endpoint.RawQuery = url.Values{"after": {strconv.FormatInt(at.Number, 10)}, "stream": {at.Stream}}.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, endpoint.String(), nil)
	if err != nil {
		return err
	}
	request.Header.Set("Accept", "text/event-stream")
	s.client.token.Show(request.Header)
	response, err := s.client.transport.RoundTrip(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("the token service answers %s", response.Status)
	}

	events := revocation.NewReader(response.Body)
	for {
		event, err := events.Next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return errors.Join(err, context.Cause(ctx))
		}
		watchdog.Reset(silence)
		if err := s.take(event); err != nil {
			return err
		}
	}
}

func (s *stream) take(event revocation.Event) error {
	if s.connected.Load() { // then the set has what came before this event
		s.set.Confirm(s.now())
	}
	switch event.Kind {
	case revocation.EventRevoke:
		if err := s.set.Apply(event.Entry, s.now()); err != nil {
			return err
		}
		s.log.Debug("session revoked", "number", event.Entry.Number)
	case revocation.EventReset:
		s.log.Info("revocation stream starts over", "stream", event.Stream)
		s.set.Reset(event.Stream)
	case revocation.EventReady:
		if at := s.set.Position(); at.Stream != event.Stream {
			return fmt.Errorf("the token service speaks of stream %s while we follow %s", event.Stream, at.Stream)
		}
		s.set.Confirm(s.now())
		if !s.connected.Swap(true) {
			s.log.Info("following revocations", "number", event.Number)
		}
		if s.whole.Swap(true) {
			return nil
		}
	default: // a heartbeat
		return nil
	}
	if !s.whole.Load() {
		return nil // Part of a first snapshot is not saved: the next process would take it for the whole.
	}
	select {
	case s.changed <- struct{}{}:
	default: // keep has yet to see the last change; it will see this one with it
	}
	return nil
}
