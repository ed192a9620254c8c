package rotation_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/latchkey-dev/latchkey/internal/rotation"
)

// noted is a ring as a status tells of it.
func noted(ring ...rotation.Key) rotation.Ring {
	var notes rotation.Ring
	for _, k := range ring {
		note := rotation.Key{ID: k.ID, Algorithm: k.Algorithm, Phase: k.Phase}
		switch since := k.Since().Truncate(time.Second); k.Phase {
		case rotation.Active:
			note.ActivatedAt = since
		case rotation.Retiring:
			note.RetiredAt = since
		default:
			note.PublishedAt = since
		}
		notes = append(notes, note)
	}
	return notes
}

func restored(k rotation.Key) rotation.Key {
	k.ActivatedBy = rotation.Restored
	return k
}

func TestRecover(t *testing.T) {
	a, b, c := retiring("a", 0, 0, 30), active("b", 20, 30), pending("c", 50)
	last := rotation.Memory{Serial: 7, Keys: noted(a, b, c)} // as it was at minute 50 and is at 51
	// What is known of a key that is lost, but for its public half.
	lostA, lostB := restored(retiring("a", 30, 30, 30)), restored(retiring("b", 51, 51, 51))
	for _, tc := range []struct {
		name            string
		ring            rotation.Ring
		serial          int64
		now             time.Time
		revoked         []string
		recovered, lost rotation.Ring
	}{
		{name: "leaves a ring alone that is as it was", ring: rotation.Ring{a, b, c}, serial: 7, recovered: rotation.Ring{a, b, c}},
		{name: "leaves a later ring alone, whatever it lacks", ring: rotation.Ring{b}, serial: 8, recovered: rotation.Ring{b}},
		{
			name: "puts an older ring's keys where they were", ring: rotation.Ring{active("a", 0, 0), pending("b", 20)}, serial: 3,
			recovered: rotation.Ring{a, restored(b)},
		},
		{
			name: "does not let a key sign that has retired since, and keeps the one that signed", ring: rotation.Ring{active("a", 0, 0)}, serial: 2,
			recovered: rotation.Ring{a}, lost: rotation.Ring{lostB},
		},
		{
			name: "drops keys of an older ring that have left since", ring: rotation.Ring{retiring("z", 0, 0, 10), active("a", 0, 0)}, serial: 2,
			recovered: rotation.Ring{a}, lost: rotation.Ring{lostB},
		},
		{name: "keeps what a lost ring had signed with", recovered: nil, lost: rotation.Ring{lostA, lostB}},
		{
			name: "keeps nothing of a lost ring for longer than retain", now: at(50), recovered: nil,
			lost: rotation.Ring{restored(retiring("b", 50, 50, 50))},
		},
		{name: "keeps no lost key that is revoked", revoked: []string{"b"}, lost: rotation.Ring{lostA}},
		{name: "keeps a key that was taken out by hand", ring: rotation.Ring{a, c}, serial: 7, recovered: rotation.Ring{a, c}, lost: rotation.Ring{lostB}},
		{name: "takes a key that was put in by hand", ring: rotation.Ring{a, b, c, pending("d", 50)}, serial: 7, recovered: rotation.Ring{a, b, c, pending("d", 50)}},
		{
			name: "takes back a phase that was set back by hand", ring: rotation.Ring{active("a", 0, 0), retiring("b", 20, 30, 45), c}, serial: 7,
			recovered: rotation.Ring{a, retiring("b", 20, 30, 45), c},
		},
		{
			name: "lets one key sign where another was set back by hand for it", ring: rotation.Ring{a, pending("b", 20), active("c", 50, 50)}, serial: 7,
			recovered: rotation.Ring{a, restored(retiring("b", 20, 30, 51)), active("c", 50, 50)},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			now := tc.now
			if now.IsZero() {
				now = at(49).Add(2 * time.Minute)
			}
			s := schedule
			s.Revoked, s.Retain = tc.revoked, 20*time.Minute
			if tc.name != "keeps nothing of a lost ring for longer than retain" {
				s.Retain = time.Hour
			}
			recovered, lost := rotation.Recover(now, s, tc.ring, tc.serial, last)
			if diff := cmp.Diff(recovered, tc.recovered); diff != "" {
				t.Errorf("recovered (-got +want):\n%s", diff)
			}
			if diff := cmp.Diff(lost, tc.lost); diff != "" {
				t.Errorf("lost (-got +want):\n%s", diff)
			}
		})
	}
}

// TestARingThatGoesBackLosesNothingThatMayBeValid: whatever ring of the past is put back, whenever, and whether the note of it is up to date or not, no key
// signs that had stopped, none comes back that had left, and every key that may have signed a token which is still valid goes on verifying.
func TestARingThatGoesBackLosesNothingThatMayBeValid(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := schedule
		w := &world{t: t, now: start, schedule: s}
		type version struct {
			ring   rotation.Ring
			serial int64
		}
		past := []version{{}} // the first: no ring at all
		var serial int64
		var last rotation.Memory
		store := func() {
			serial++
			past = append(past, version{slices.Clone(w.ring), serial})
		}
		mayHaveSigned := map[string]time.Time{} // by id, when it last did
		for range rapid.IntRange(1, 40).Draw(t, "events") {
			switch rapid.IntRange(0, 5).Draw(t, "event") {
			case 0:
				w.now = w.now.Add(time.Duration(rapid.IntRange(1, 3600).Draw(t, "seconds")) * time.Second)
			case 1:
				w.acknowledge()
			case 2:
				if len(w.ring) > 0 {
					w.schedule.Revoked = append(slices.Clone(w.schedule.Revoked), rapid.SampledFrom(w.ring).Draw(t, "revoked").ID)
				}
			case 3: // a backup is restored, or the ring is lost
				was := rapid.SampledFrom(past).Draw(t, "backup")
				retired, left := map[string]bool{}, map[string]bool{}
				for _, v := range past {
					for _, k := range v.ring {
						left[k.ID] = true
					}
				}
				for _, k := range w.ring {
					delete(left, k.ID)
					retired[k.ID] = k.Phase == rotation.Retiring
				}
				recovered, lost := rotation.Recover(w.now, w.schedule, was.ring, was.serial, last)
				w.ring = slices.Concat(recovered, lost)
				serial = max(was.serial, last.Serial)
				for _, k := range w.ring {
					if k.Phase == rotation.Active && retired[k.ID] {
						t.Fatalf("%s signs again, and had retired", k.ID)
					}
					if left[k.ID] {
						t.Fatalf("%s is back, and had left: %+v", k.ID, w.ring)
					}
				}
				store()
			}
			before := w.ring
			plan := w.decide()
			w.step()
			if len(plan.Steps) > 0 {
				store()
			}
			if signs, ok := w.ring.Active(); ok {
				mayHaveSigned[signs.ID] = w.now
			}
			if signs, ok := before.Active(); ok {
				mayHaveSigned[signs.ID] = w.now
			}
			last = rotation.Memory{Serial: serial, Keys: noted(w.ring...)}
			for id, at := range mayHaveSigned {
				if slices.Contains(w.schedule.Revoked, id) || w.now.Sub(at) >= s.Retain-time.Second {
					continue // what it signed has ended with it; a second is what notes leave out
				}
				if !slices.ContainsFunc(w.ring, func(k rotation.Key) bool { return k.ID == id }) {
					t.Fatalf("%s signed %v ago and verifies no more: %+v", id, w.now.Sub(at), w.ring)
				}
			}
		}
	})
}

func TestANoteThatIsBehindChangesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &world{t: t, now: start, schedule: schedule}
		var serial int64
		notes := []rotation.Memory{{}}
		for i := range 20 {
			w.now = w.now.Add(time.Duration(rapid.IntRange(1, 3600).Draw(t, fmt.Sprintf("seconds %d", i))) * time.Second)
			if len(w.decide().Steps) > 0 {
				serial++
			}
			w.step()
			recovered, lost := rotation.Recover(w.now, w.schedule, w.ring, serial, rapid.SampledFrom(notes).Draw(t, "note"))
			if diff := cmp.Diff(recovered, w.ring); diff != "" || lost != nil {
				t.Fatalf("got lost %v and recovered (-got +want):\n%s", lost, diff)
			}
			notes = append(notes, rotation.Memory{Serial: serial, Keys: noted(w.ring...)})
		}
	})
}
