package rotation_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/latchkey-dev/latchkey/internal/rotation"
)

// world drives Decide and Apply as the manager does, and holds every ring on the way to what DESIGN promises of it.
type world struct {
	t        failer
	now      time.Time
	schedule rotation.Schedule
	ring     rotation.Ring
	made     int

	acknowledged []string
}

type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

func (w *world) decide() rotation.Plan {
	return rotation.Decide(w.now, w.schedule, w.ring, w.acknowledged...)
}

// acknowledge makes everybody report all keys that there are.
func (w *world) acknowledge() {
	for _, k := range w.ring {
		w.acknowledged = append(w.acknowledged, k.ID)
	}
}

func (w *world) step() {
	w.t.Helper()
	before := w.ring
	plan := w.decide()

	var ids []string
	for _, step := range plan.Steps {
		if step.Kind == rotation.Generate {
			w.made++
			ids = append(ids, fmt.Sprintf("key%d", w.made))
		}
	}
	after, err := before.Apply(w.now, plan.Steps, ids...)
	if err != nil {
		w.t.Fatalf("a plan that does not apply: %v\n%+v\n%+v", err, before, plan)
	}
	w.ring = after

	if !plan.NextCheck.After(w.now) {
		w.t.Fatalf("NextCheck: got %v, want later than %v", plan.NextCheck, w.now)
	}
	if again := w.decide(); len(again.Steps) > 0 {
		w.t.Fatalf("deciding again at the same instant: got %+v, want nothing\n%+v", again.Steps, after)
	}
	w.check(before, plan.Steps)
	w.checkWaiting(before, plan)
}

func (w *world) check(before rotation.Ring, steps []rotation.Step) {
	w.t.Helper()
	signing := 0
	for _, k := range w.ring {
		if k.Phase == rotation.Active {
			signing++
		}
		if slices.Contains(w.schedule.Revoked, k.ID) {
			w.t.Fatalf("%s is revoked and still there", k.ID)
		}
		if !k.Verifies(w.now, w.schedule.Retain) {
			w.t.Fatalf("%s is accepted at %v, longer than %v after it retired: %+v", k.ID, w.now, w.schedule.Retain, k)
		}
	}
	if len(w.ring) > rotation.MaxKeys && len(w.ring) > len(before) {
		w.t.Fatalf("got %d keys, more than %d", len(w.ring), rotation.MaxKeys)
	}
	if signing != 1 {
		w.t.Fatalf("got %d keys that sign, want 1: %+v", signing, w.ring)
	}
	for _, step := range steps {
		at := slices.IndexFunc(before, func(k rotation.Key) bool { return k.ID == step.ID })
		switch {
		case step.Why == rotation.Bootstrap && len(before) > 0:
			w.t.Fatalf("bootstrap over %+v", before)
		case step.Kind == rotation.Activate && step.Why != rotation.Emergency && w.now.Sub(before[at].PublishedAt) < w.schedule.PublishLead:
			w.t.Fatalf("%s signs after %v of a lead of %v", step.ID, w.now.Sub(before[at].PublishedAt), w.schedule.PublishLead)
		case step.Kind == rotation.Activate && step.Why != rotation.Emergency && w.now.Before(w.turn(before, step.ID)):
			w.t.Fatalf("%s signs at %v, before its turn at %v", step.ID, w.now, w.turn(before, step.ID))
		case step.Kind == rotation.Activate && step.Why == rotation.Due && !slices.Contains(w.acknowledged, step.ID):
			w.t.Fatalf("%s signs as if everybody had reported it", step.ID)
		case step.Kind == rotation.Activate && step.Why == rotation.Unacknowledged && w.now.Before(w.latest(before, step.ID)):
			w.t.Fatalf("%s signs at %v although nobody has reported it, and it had to wait until %v", step.ID, w.now, w.latest(before, step.ID))
		case step.Why == rotation.Emergency && slices.ContainsFunc(before, func(k rotation.Key) bool {
			return k.Phase == rotation.Active && !slices.Contains(w.schedule.Revoked, k.ID)
		}):
			w.t.Fatalf("an emergency while a good key signs: %+v", before)
		case step.Kind == rotation.Remove && step.Why != rotation.Revoked && before[at].Phase == rotation.Active:
			w.t.Fatalf("%s signs and was removed: %s", step.ID, step.Why)
		case step.Kind == rotation.Remove && step.Why != rotation.Revoked && before[at].Phase == rotation.Retiring &&
			w.now.Sub(before[at].RetiredAt) < w.schedule.Retain:
			w.t.Fatalf("%s was dropped %v after it retired, before %v", step.ID, w.now.Sub(before[at].RetiredAt), w.schedule.Retain)
		}
	}
}

// turn is when a Pending key is due: reckoned from the times in the ring, by hand.
func (w *world) turn(ring rotation.Ring, id string) time.Time {
	at := slices.IndexFunc(ring, func(k rotation.Key) bool { return k.ID == id })
	turn := ring[at].PublishedAt.Add(w.schedule.PublishLead)
	signs, _ := ring.Active()
	due := signs.ActivatedAt // later than now where the clock went backwards since
	if signs.Algorithm == w.schedule.Algorithm {
		due = due.Add(w.schedule.RotateEvery)
	}
	if due.After(turn) {
		return due
	}
	return turn
}

// latest is when it need not wait any longer.
func (w *world) latest(ring rotation.Ring, id string) time.Time {
	return w.turn(ring, id).Add(w.schedule.AcknowledgeWithin)
}

// checkWaiting: a key waits for acknowledgement alone, not beyond its time, and is looked at again before long.
func (w *world) checkWaiting(before rotation.Ring, plan rotation.Plan) {
	w.t.Helper()
	if !plan.Waits() {
		return
	}
	if slices.Contains(w.acknowledged, plan.Due) {
		w.t.Fatalf("%s is acknowledged and waits", plan.Due)
	}
	latest := w.latest(before, plan.Due)
	if !w.now.Before(latest) {
		w.t.Fatalf("%s waits at %v, longer than until %v", plan.Due, w.now, latest)
	}
	if plan.NextCheck.After(latest) || plan.NextCheck.After(w.now.Add(time.Second)) {
		w.t.Fatalf("%s waits at %v until %v, and is looked at again at %v only", plan.Due, w.now, latest, plan.NextCheck)
	}
}

func TestARingKeepsItsPromisesWhateverHappens(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		kinds := rapid.SampledFrom([]string{"ES256", "EdDSA", "RS256"})
		duration := func(name string, least, most int) time.Duration {
			return time.Duration(rapid.IntRange(least, most).Draw(t, name)) * time.Second
		}
		change := func(w *world) {
			lead := duration("publishLead", 1, 1000)
			w.schedule = rotation.Schedule{
				Algorithm: kinds.Draw(t, "algorithm"), RotateEvery: lead + duration("rotateEvery", 1, 5000), PublishLead: lead,
				Retain: duration("retain", 1, 5000), Revoked: w.schedule.Revoked, AcknowledgeWithin: duration("acknowledgeWithin", 0, 1000),
			}
		}
		w := &world{t: t, now: start}
		change(w)
		w.step()
		t.Repeat(map[string]func(*rapid.T){
			"time passes":          func(*rapid.T) { w.now = w.now.Add(duration("seconds", 1, 6000)) },
			"the next check comes": func(*rapid.T) { w.now = w.decide().NextCheck },
			"everybody reports":    func(*rapid.T) { w.acknowledge() },
			"the clock goes backwards": func(t *rapid.T) {
				now := w.now
				w.now = w.now.Add(-duration("seconds", 1, 6000))
				if plan := w.decide(); len(plan.Steps) > 0 {
					t.Fatalf("got %+v, want nothing", plan.Steps)
				}
				if rapid.Bool().Draw(t, "and comes back") {
					w.now = now
				}
			},
			"the schedule changes": func(*rapid.T) { change(w) },
			"a key is revoked": func(t *rapid.T) {
				w.schedule.Revoked = append(slices.Clone(w.schedule.Revoked), rapid.SampledFrom(w.ring).Draw(t, "key").ID)
			},
			"": func(*rapid.T) { w.step() },
		})
	})
}

// TestRotationNeverStops: a ring that is looked at when NextCheck says so has rotated in time, every time, whether anybody reports or not.
func TestRotationNeverStops(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lead := time.Duration(rapid.IntRange(1, 1000).Draw(t, "publishLead")) * time.Second
		w := &world{t: t, now: start, schedule: rotation.Schedule{
			Algorithm: "ES256", PublishLead: lead, RotateEvery: lead + time.Duration(rapid.IntRange(1, 100_000).Draw(t, "rotateEvery"))*time.Second,
			Retain:            time.Duration(rapid.IntRange(1, 100_000).Draw(t, "retain")) * time.Second,
			AcknowledgeWithin: time.Duration(rapid.IntRange(0, 100).Draw(t, "acknowledgeWithin")) * time.Second,
		}}
		oldest := w.schedule.RotateEvery + w.schedule.AcknowledgeWithin
		for end := start.Add(10 * oldest); w.now.Before(end); {
			if rapid.Bool().Draw(t, "everybody reports") {
				w.acknowledge()
			}
			w.step()
			signs, _ := w.ring.Active()
			if age := w.now.Sub(signs.ActivatedAt); age >= oldest {
				t.Fatalf("%s has been signing for %v, want less than %v", signs.ID, age, oldest)
			}
			w.now = w.decide().NextCheck
		}
		if got := w.made; got < 10 {
			t.Errorf("got %d keys in ten rotations, want one each", got)
		}
	})
}

// FuzzDecide reads what happens to a ring from bytes, two for each event.
func FuzzDecide(f *testing.F) {
	f.Add([]byte{0, 10, 0, 30, 0, 200})
	f.Add([]byte{0, 90, 2, 0, 0, 1, 3, 1, 0, 120})
	f.Add([]byte{1, 50, 0, 255, 1, 20, 2, 1, 4, 9})
	f.Add([]byte{5, 0, 0, 1, 5, 255, 0, 1})
	f.Add([]byte{0, 90, 0, 10, 0, 1, 6, 0, 0, 1})
	f.Add([]byte{7, 20, 0, 95, 0, 6, 0, 19, 1, 50, 0, 51})
	f.Fuzz(func(t *testing.T, events []byte) {
		w := &world{t: t, now: start, schedule: rotation.Schedule{
			Algorithm: "ES256", RotateEvery: 100 * time.Second, PublishLead: 10 * time.Second, Retain: 50 * time.Second, AcknowledgeWithin: 5 * time.Second,
		}}
		w.step()
		for len(events) >= 2 {
			event, n := events[0]%8, int(events[1])
			events = events[2:]
			switch event {
			case 0:
				w.now = w.now.Add(time.Duration(n) * time.Second)
			case 1:
				w.now = w.now.Add(-time.Duration(n) * time.Second)
			case 2:
				w.schedule.Revoked = append(w.schedule.Revoked, w.ring[n%len(w.ring)].ID)
			case 3:
				w.schedule.Algorithm = []string{"ES256", "EdDSA", "PS256"}[n%3]
			case 4:
				w.schedule.PublishLead = time.Duration(1+n) * time.Second
				w.schedule.RotateEvery = w.schedule.PublishLead + time.Duration(1+n/2)*time.Second
			case 5:
				w.schedule.Retain = time.Duration(1+n) * time.Second
			case 6:
				w.acknowledge()
			case 7:
				w.schedule.AcknowledgeWithin = time.Duration(n) * time.Second
			}
			w.step()
		}
	})
}
