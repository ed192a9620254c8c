package rotation

import (
	"fmt"
	"slices"
	"time"
)

// Phase is what a key is used for.
type Phase string

const (
	// Pending is published and does not sign yet.
	Pending Phase = "Pending"
	// Active signs.
	Active Phase = "Active"
	// Retiring has stopped signing and still verifies.
	Retiring Phase = "Retiring"
)

// Key is what is written about one key. The times that its phase has not reached yet are zero.
type Key struct {
	ID        string
	Algorithm string
	Bits      int // the size of an RSA key; 0 for the others
	Phase     Phase

	PublishedAt time.Time
	ActivatedAt time.Time
	ActivatedBy Why // the reason for which it began to sign
	RetiredAt   time.Time
}

// Since returns when the key entered its phase.
func (k Key) Since() time.Time {
	switch k.Phase {
	case Active:
		return k.ActivatedAt
	case Retiring:
		return k.RetiredAt
	default:
		return k.PublishedAt
	}
}

// Until returns when a Retiring key stops verifying, and the zero time for the others, whose end is not known yet. It is a whole second, rounded
// up: key sets and statuses count in seconds, and whoever reads an end there must not be sent away before it.
func (k Key) Until(retain time.Duration) time.Time {
	if k.Phase != Retiring {
		return time.Time{}
	}
	end := k.RetiredAt.Add(retain)
	if whole := end.Truncate(time.Second); whole.Before(end) {
		return whole.Add(time.Second)
	}
	return end
}

// Verifies says whether a signature by the key still counts at now. A Retiring key's end is the first instant at which it does not.
func (k Key) Verifies(now time.Time, retain time.Duration) bool {
	return k.Phase != Retiring || now.Before(k.Until(retain))
}

// Ring is all the keys of one SigningKey, in no particular order. At most one is Active.
type Ring []Key

// Active returns the key that signs.
func (r Ring) Active() (Key, bool) {
	i := slices.IndexFunc(r, func(k Key) bool { return k.Phase == Active })
	if i < 0 {
		return Key{}, false
	}
	return r[i], true
}

// Pending returns a key that is published and does not sign yet.
func (r Ring) Pending() (Key, bool) {
	i := slices.IndexFunc(r, func(k Key) bool { return k.Phase == Pending })
	if i < 0 {
		return Key{}, false
	}
	return r[i], true
}

func (r Ring) index(id string) int {
	return slices.IndexFunc(r, func(k Key) bool { return k.ID == id })
}

// Apply returns the ring after the steps, taken at now, and leaves r as it is. Each Generate step takes the next of generated, the ids of
// the keys that the caller made for them, in order.
func (r Ring) Apply(now time.Time, steps []Step, generated ...string) (Ring, error) {
	ring := slices.Clone(r)
	for i, step := range steps {
		switch step.Kind {
		case Generate:
			if len(generated) == 0 {
				return nil, fmt.Errorf("steps[%d]: no key was generated for it", i)
			}
			id := generated[0]
			generated = generated[1:]
			if id == "" || ring.index(id) >= 0 {
				return nil, fmt.Errorf("steps[%d]: the generated key needs an id that no other key has, not %q", i, id)
			}
			ring = append(ring, Key{ID: id, Algorithm: step.Algorithm, Bits: step.Bits, Phase: Pending, PublishedAt: now})
			if step.Phase == Active {
				ring.activate(len(ring)-1, step.Why, now)
			}
		case Activate:
			at := ring.index(step.ID)
			if at < 0 || ring[at].Phase != Pending {
				return nil, fmt.Errorf("steps[%d]: no Pending key %q to activate", i, step.ID)
			}
			ring.activate(at, step.Why, now)
		case Remove:
			at := ring.index(step.ID)
			if at < 0 {
				return nil, fmt.Errorf("steps[%d]: no key %q to remove", i, step.ID)
			}
			ring = slices.Delete(ring, at, at+1)
		default:
			return nil, fmt.Errorf("steps[%d]: unknown kind %q", i, step.Kind)
		}
	}
	if len(generated) > 0 {
		return nil, fmt.Errorf("more keys were generated than the steps ask for: %d", len(generated))
	}
	return ring, nil
}

// activate makes one key the one that signs. Demoting the one before is part of it, so that no ring ever has two, or none, in between.
func (r Ring) activate(at int, why Why, now time.Time) {
	for i := range r {
		if r[i].Phase == Active {
			r[i].Phase, r[i].RetiredAt = Retiring, now
		}
	}
	r[at].Phase, r[at].ActivatedAt, r[at].ActivatedBy = Active, now, why
}
