package sidecar

import (
	"sync/atomic"
	"time"
)

// warmUpLimit is how long a new pod may be not ready for want of revocations. A token service that is down must not keep pods down.
const warmUpLimit = 5 * time.Second

// warmUp is the time from the first bundle until the revocations of all its token services are there. A pod that nobody has told anything
// yet would take tokens of sessions that have ended. It comes once in the life of a process: later, what is known stays in force.
type warmUp struct {
	timer *time.Timer
	over  atomic.Bool
}

// begin is called with each bundle that came into force; the first one counts. Calls come one after the other.
func (u *warmUp) begin(end func()) {
	if u.timer == nil {
		u.timer = time.AfterFunc(warmUpLimit, end)
	}
}

func (u *warmUp) stop() {
	if u.timer != nil {
		u.timer.Stop()
	}
}

// stillMissing returns the issuers whose revocations the warm-up waits for, and ends it when there are none.
func (s *sidecar) stillMissing() []string {
	if s.warmUp.over.Load() {
		return nil
	}
	missing := s.notWhole()
	if len(missing) == 0 {
		s.warmUp.over.Store(true)
	}
	return missing
}

// endWarmUp ends it, come what may.
func (s *sidecar) endWarmUp() {
	missing := s.notWhole()
	if s.warmUp.over.Swap(true) || len(missing) == 0 {
		return
	}
	s.metrics.unwarmed.Set(1)
	s.log.Warn("ready without all revocations; sessions that ended before may be taken for valid until they arrive",
		"waited", warmUpLimit.String(), "missing", missing)
}

func (s *sidecar) notWhole() (issuers []string) {
	for _, stream := range s.follower.State() {
		if !stream.Whole {
			issuers = append(issuers, stream.Issuer)
		}
	}
	return issuers
}
