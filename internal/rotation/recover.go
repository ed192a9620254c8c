package rotation

import (
	"slices"
	"time"
)

// Memory is what was last noted of a ring, somewhere else than in the ring.
type Memory struct {
	Serial int64 // of the ring that it was noted of
	Keys   Ring  // without ActivatedBy; of their times, the one when the phase was entered, in whole seconds
}

// Recover compares a ring with what is remembered of it. Whoever changes a ring raises its serial number and takes the note after that. So a
// ring whose number is not above the remembered one cannot be the later of the two, and where they differ, somebody has put an older one back,
// lost it (then it is empty and its number 0), or edited it.
//
// The recovered ring has no key in an earlier phase than it had reached, and, put back, none that had left. Lost are the keys that it lacks and whose tokens may
// still be valid: they have stopped signing, now at the latest. Forgotten Pending keys are not among them, for they signed nothing.
func Recover(now time.Time, s Schedule, ring Ring, serial int64, last Memory) (recovered, lost Ring) {
	if serial > last.Serial {
		return slices.Clone(ring), nil
	}
	for _, k := range ring {
		at := last.Keys.index(k.ID)
		switch {
		case at >= 0:
			recovered = append(recovered, k.forward(last.Keys[at]))
		case serial == last.Serial: // put there by whoever may write the ring
			recovered = append(recovered, k)
		}
	}
	signs := slices.IndexFunc(recovered, func(k Key) bool { // where there are several, the one that somebody has just made sign
		at := ring.index(k.ID)
		return k.Phase == Active && ring[at].Phase == Active
	})
	for i := range recovered {
		if recovered[i].Phase != Active {
			continue
		}
		if signs < 0 {
			signs = i
		}
		if i != signs {
			recovered[i] = recovered[i].forward(Key{Phase: Retiring, RetiredAt: now})
		}
	}
	for _, k := range last.Keys {
		if ring.index(k.ID) >= 0 || k.Phase == Pending || slices.Contains(s.Revoked, k.ID) {
			continue
		}
		if k.Phase == Active {
			k = k.forward(Key{Phase: Retiring, RetiredAt: now})
		}
		k.PublishedAt, k.ActivatedAt, k.ActivatedBy = k.Since(), k.Since(), Restored
		if k.Verifies(now, s.bounded().Retain) {
			lost = append(lost, k)
		}
	}
	return recovered, lost
}

// forward returns the key in the phase that it was seen in, if that is a later one.
func (k Key) forward(seen Key) Key {
	order := []Phase{Pending, Active, Retiring}
	if slices.Index(order, seen.Phase) <= slices.Index(order, k.Phase) {
		return k
	}
	if k.Phase == Pending {
		k.ActivatedAt, k.ActivatedBy = seen.Since(), Restored
	}
	k.Phase, k.RetiredAt = seen.Phase, seen.RetiredAt
	return k
}
