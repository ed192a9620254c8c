package sidecar

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// leaving is the end of a pod, from the moment at which its deletion is known.
type leaving struct {
	begun   atomic.Bool
	once    sync.Once
	parted  chan struct{} // closed when connections that were idle at the beginning had their time
	closing sync.WaitGroup
}

// farewell is how long a connection that is idle when the pod begins to leave may still bring a request, and hear with its answer that it was the
// last. One that is closed at once loses the request that is on its way.
const farewell = time.Second

// leave sends callers elsewhere: each answer from now on says that it is the last on its connection, and connections that are idle a second later are
// closed. New ones are taken all the same, since callers may not know yet that the pod is leaving. It returns at once.
func (s *sidecar) leave(background context.Context) {
	s.leaving.once.Do(func() {
		s.log.Info("leaving", "inFlight", s.flight.n.Load(), "connections", s.lobby.open.n.Load())
		s.leaving.parted = make(chan struct{})
		s.leaving.begun.Store(true)
		before := s.lobby.leave()
		s.leaving.closing.Go(func() {
			s.lobby.open.waitFor(background, farewell)
			close(s.leaving.parted)
			_ = shutdown(background, before) // what is left at the very end is closed then
		})
	})
}

// drain leaves, and lets requests in flight finish.
func (s *sidecar) drain(background context.Context, limit time.Duration) {
	bounded, cancel := context.WithTimeout(background, limit)
	defer cancel()
	s.leave(background)
	select {
	case <-s.leaving.parted:
	case <-bounded.Done():
	}
	err := s.flight.wait(bounded)
	s.lobby.stop()
	s.lobby.open.waitFor(bounded, farewell) // those accepted last may still be sending their request
	err = errors.Join(err, s.flight.wait(bounded), shutdown(bounded, s.lobby.all()))
	if err != nil {
		s.log.Warn("requests were cut off at the end of the drain", "inFlight", s.flight.n.Load())
	}
}
