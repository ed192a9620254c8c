package distribution

import (
	"fmt"
	"time"
)

const (
	// minPause bounds how often a pod is poked whose files keep changing. The kubelet looks at a pod once a second at most, so a poke for all that
	// changed meanwhile comes as soon as one for each.
	minPause = 250 * time.Millisecond
	// maxPause bounds how often a pod that never reports is poked. A kubelet refreshes volumes by itself about as often.
	maxPause = time.Minute
	// askAgain is the pause before a pod that does not answer and is not ready either is asked again. It is most likely starting, and
	// then its readiness wakes us earlier.
	askAgain = 10 * time.Second
	// askSilent is the pause before a ready pod that did not answer is asked once more. Only then it counts as one that is behind.
	askSilent = time.Second
	// maxAttempt is the highest number that is believed of an annotation, which others may write: two years of an attempt a minute.
	maxAttempt = 1 << 20
)

// poke is one attempt to make a kubelet refresh a pod's volumes.
type poke struct {
	wanted  string // what the volumes should hold
	attempt int
	at      time.Time // zero: unknown, by a manager before this one
}

// parsePoke reads an annotation's value. What is not of our form is no poke.
func parsePoke(annotation string) poke {
	var last poke
	if n, err := fmt.Sscanf(annotation, "%s %d", &last.wanted, &last.attempt); n != 2 || err != nil || last.attempt < 1 || last.attempt > maxAttempt {
		return poke{}
	}
	return last
}

// state is what is known about one pod.
type state struct {
	wanted  string // digest of what its volumes should hold
	arrived bool   // it says that it has read that
	heard   bool   // it answers at all
	ready   bool
	last    poke
}

// outrun reports whether a ready pod was poked for what is no longer wanted. There is no use in asking it whether it has what is: hardly ever was a kubelet
// faster than we, and asking all of a policy's pods would keep those waiting that come last.
func (s state) outrun() bool { return s.ready && !s.last.at.IsZero() && s.last.wanted != s.wanted }

// action is what to do with the pod now, and when to look again; 0 means not before something changes.
type action struct {
	poke  int // the number of the attempt; 0: none
	after time.Duration
}

// decide pokes a pod that is behind, then again 1, 2, 4 ... seconds later until it has caught up; for files that changed again meanwhile, sooner. Pods
// in step are left alone, and so are pods that are only starting: they mount what is current.
func decide(now time.Time, s state) action {
	switch {
	case s.arrived:
		return action{}
	case !s.heard && !s.ready:
		return action{after: askAgain}
	}
	attempt, wait := 1, minPause
	if s.last.wanted == s.wanted {
		attempt, wait = s.last.attempt+1, pause(s.last.attempt)
	}
	due := s.last.at.Add(wait)
	if now.Before(due) && !now.Before(s.last.at) { // a clock that went backwards must not silence us
		return action{after: due.Sub(now)}
	}
	return action{poke: attempt, after: pause(attempt)}
}

func pause(attempt int) time.Duration {
	if attempt > 6 { // 2^6 seconds are more than a minute
		return maxPause
	}
	return min(time.Second<<(attempt-1), maxPause)
}
