package signingkey

import (
	"slices"
	"time"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/rotation"
	"github.com/latchkey-dev/latchkey/internal/signing"
)

// recovery is what was found out about a Secret that went back to an earlier ring, was edited, or is gone.
type recovery struct {
	kept      rotation.Ring // keys that were lost, but for their public halves
	gone      []string      // ids of keys that were lost altogether
	corrected bool          // the phases of the others were put right
}

// memory is what the status tells of the ring. It is asked for nothing but whether the Secret has gone back, and the Secret is read after it: so
// a status that is a moment behind tells nothing. A key that only it names is believed when its published public half fits the id, which is its thumbprint.
func memory(status *v1alpha1.SigningKeyStatus, retain time.Duration) rotation.Memory {
	last := rotation.Memory{Serial: status.RingSerial}
	for _, told := range status.Keys {
		k := rotation.Key{ID: told.KeyID, Algorithm: string(told.Algorithm), Phase: rotation.Phase(told.Phase)}
		switch since := told.Since.Time; k.Phase {
		case rotation.Active:
			k.ActivatedAt = since
		case rotation.Retiring:
			k.RetiredAt = since
			if end := told.Until; end != nil && k.Until(retain).Equal(end.Add(-time.Second)) {
				k.RetiredAt = since.Add(time.Second) // the fraction that is left out of since: no key ends before what was published
			}
		default:
			k.PublishedAt = since
		}
		last.Keys = append(last.Keys, k)
	}
	return last
}

// recover puts the ring in memory back to where it was, as far as that is possible. It is stored with the next write.
func (seen *observed) recover(now time.Time, key *v1alpha1.SigningKey) error {
	last, stored := memory(&key.Status, key.Spec.Retain.Duration), seen.ring.Rotation()
	ring, lost := rotation.Recover(now.UTC().Round(0), schedule(key.Spec), stored, seen.ring.Serial(), last)
	seen.recovery.corrected = len(stored) > 0 && !slices.Equal(ring, stored)
	var more []*signing.Key
	for _, k := range lost {
		kept, err := seen.publicHalf(k.ID)
		if err != nil {
			seen.recovery.gone = append(seen.recovery.gone, k.ID)
			continue
		}
		k.Algorithm, k.Bits = kept.Algorithm(), kept.Bits()
		ring, more = append(ring, k), append(more, kept)
		seen.recovery.kept = append(seen.recovery.kept, k)
	}
	if slices.Equal(ring, stored) && seen.ring.Serial() >= last.Serial {
		return nil
	}
	var err error
	seen.ring, err = seen.ring.With(last.Serial+1, ring, more...)
	return err
}
