package rotation

import (
	"slices"
	"strings"
	"time"
)

// Schedule says what keys to keep and when they change. Durations count as at least a second and at most a century, AcknowledgeWithin as
// at least nothing, and RotateEvery as at least a second longer than PublishLead, because a key is published that long before its turn
// comes. The API refuses anything else; the bounds hold here as well, so that no schedule can make Decide change keys without end.
type Schedule struct {
	Algorithm   string
	Bits        int           // the size of RSA keys, 0 for the default of 2048; ignored for the others
	RotateEvery time.Duration // how long one key signs
	PublishLead time.Duration // how long a key is published before it signs
	Retain      time.Duration // how long a key verifies after it stopped signing
	Revoked     []string      // ids of keys that must not be trusted any more

	// AcknowledgeWithin is how long a key whose turn has come waits for everybody who depends on it to report it.
	AcknowledgeWithin time.Duration
}

// fits says whether a key is of the kind that the schedule asks for now.
func (s Schedule) fits(k Key) bool { return k.Algorithm == s.Algorithm && k.Bits == s.Bits }

// NextRotation returns when the next key is due to sign. It is in the past where the ring is late or the key waits to be acknowledged, the
// zero time where no key is Active.
func (s Schedule) NextRotation(r Ring) time.Time {
	s = s.bounded()
	active, ok := r.Active()
	if !ok {
		return time.Time{}
	}
	due := active.ActivatedAt.Add(s.RotateEvery)
	if !s.fits(active) {
		due = active.ActivatedAt // another kind of key is asked for now: its turn has come already
	}
	if next, ok := s.pending(r); ok {
		if ready := next.PublishedAt.Add(s.PublishLead); ready.After(due) {
			return ready
		}
	}
	return due
}

const (
	shortest = time.Second
	longest  = 100 * 365 * 24 * time.Hour
)

func (s Schedule) bounded() Schedule {
	switch rsa := strings.HasPrefix(s.Algorithm, "RS") || strings.HasPrefix(s.Algorithm, "PS"); {
	case !rsa:
		s.Bits = 0
	case s.Bits == 0:
		s.Bits = 2048
	}
	s.PublishLead = min(max(s.PublishLead, shortest), longest)
	s.RotateEvery = min(max(s.RotateEvery, s.PublishLead+shortest), longest+shortest)
	s.Retain = min(max(s.Retain, shortest), longest)
	s.AcknowledgeWithin = min(max(s.AcknowledgeWithin, 0), longest)
	return s
}

// pending returns the key whose turn is next: of the kind asked for and, should there be several, published for longest.
func (s Schedule) pending(r Ring) (next Key, ok bool) {
	for _, k := range r {
		if k.Phase == Pending && s.fits(k) && (!ok || k.PublishedAt.Before(next.PublishedAt)) {
			next, ok = k, true
		}
	}
	return next, ok
}

// Kind is what a step does.
type Kind string

const (
	// Generate makes a key, in Step.Phase.
	Generate Kind = "Generate"
	// Activate makes a Pending key sign and demotes the key that signed until then.
	Activate Kind = "Activate"
	// Remove takes a key out of the ring.
	Remove Kind = "Remove"
)

// Why is the reason for a step.
type Why string

const (
	// Bootstrap means that there was no key at all.
	Bootstrap Why = "Bootstrap"
	// PublishAhead means that the next rotation is near, and verifiers need the lead to learn the key.
	PublishAhead Why = "PublishAhead"
	// Emergency means that no key signs, because it was revoked; the next one takes over at once, published or not.
	Emergency Why = "Emergency"
	// Due means that the turn of the key has come, and everybody who depends on it has acknowledged it.
	Due Why = "Due"
	// Unacknowledged means that the turn of the key has come, and the time to wait for those who have not acknowledged it is over.
	Unacknowledged Why = "Unacknowledged"
	// Imported means that the key comes from elsewhere, where it signed before.
	Imported Why = "Imported"
	// Restored means that the ring was put back to an earlier one, and the key goes on signing as it did before that.
	Restored Why = "Restored"
	// Retained means that the key has verified for as long as it had to.
	Retained Why = "Retained"
	// Revoked means that the key must not be trusted any more.
	Revoked Why = "Revoked"
	// Superseded means that the key was waiting for its turn and another kind of key is asked for now. It has signed nothing.
	Superseded Why = "Superseded"
)

// Step is one change of a ring.
type Step struct {
	Kind Kind
	Why  Why
	ID   string // of the key to activate or to remove

	// What to generate.
	Phase     Phase // Pending or Active
	Algorithm string
	Bits      int
}

// Plan is what to do now and when to decide again.
type Plan struct {
	Steps     []Step
	Due       string    // id of the Pending key whose turn has come, whether it signs now or waits to be acknowledged; "" for none
	NextCheck time.Time // always later than the now that was decided for
}

// Waits says whether the key that is due goes on waiting to be acknowledged.
func (p Plan) Waits() bool {
	return p.Due != "" && !slices.ContainsFunc(p.Steps, func(s Step) bool { return s.Kind == Activate && s.ID == p.Due })
}

// maxWait bounds NextCheck: callers wait by a monotonic clock, and the deadlines are on the wall clock, which may be set meanwhile.
const maxWait = time.Hour

// MaxKeys bounds a ring: verifiers take no more. No key is published ahead while there are so many; the one that signs signs on until an
// older one has verified for as long as it had to.
const MaxKeys = 120

// askAgain is how soon to look again whether a key that waits has been acknowledged.
const askAgain = time.Second

// Decide returns what is due at now. Acknowledged are the ids of the keys that everybody who depends on the ring reports to hold; of
// interest is the one that a plan without it calls Due. The plan is complete: deciding again at the same instant, after it was applied, plans
// nothing. Every deadline counts from a time in the ring, so a clock that went backwards finds nothing due, and whoever decides next, perhaps
// after a restart, waits no longer.
func Decide(now time.Time, s Schedule, r Ring, acknowledged ...string) Plan {
	s = s.bounded()
	d := decision{now: now, schedule: s, acknowledged: acknowledged, ring: slices.Clone(r)}

	d.dropUntrusted()
	d.dropRetained()
	d.dropSuperseded()
	d.keepSigning(len(r) == 0)
	d.rotate()
	d.publishAhead()

	return Plan{Steps: d.steps, Due: d.due, NextCheck: d.nextCheck()}
}

// decision is a plan in the making: the steps so far, and the ring as it will be after them. Keys that are still to be generated have
// no id there.
type decision struct {
	now          time.Time
	schedule     Schedule
	acknowledged []string
	ring         Ring
	steps        []Step
	due          string
}

func (d *decision) dropUntrusted() {
	d.drop(Revoked, func(k Key) bool { return slices.Contains(d.schedule.Revoked, k.ID) })
}

func (d *decision) dropRetained() {
	d.drop(Retained, func(k Key) bool { return !k.Verifies(d.now, d.schedule.Retain) })
}

func (d *decision) dropSuperseded() {
	next, _ := d.schedule.pending(d.ring)
	d.drop(Superseded, func(k Key) bool { return k.Phase == Pending && k.ID != next.ID })
}

func (d *decision) drop(why Why, unwanted func(Key) bool) {
	d.ring = slices.DeleteFunc(d.ring, func(k Key) bool {
		if !unwanted(k) {
			return false
		}
		d.steps = append(d.steps, Step{Kind: Remove, Why: why, ID: k.ID})
		return true
	})
}

// keepSigning sees to it that some key signs.
func (d *decision) keepSigning(empty bool) {
	if _, ok := d.ring.Active(); ok {
		return
	}
	if next, ok := d.schedule.pending(d.ring); ok {
		d.activate(next.ID, Emergency)
		return
	}
	why := Emergency
	if empty {
		why = Bootstrap
	}
	d.generate(Active, why)
}

func (d *decision) rotate() {
	next, ok := d.schedule.pending(d.ring)
	turn := d.schedule.NextRotation(d.ring)
	if !ok || d.now.Before(turn) {
		return
	}
	d.due = next.ID
	switch {
	case slices.Contains(d.acknowledged, next.ID):
		d.activate(next.ID, Due)
	case !d.now.Before(turn.Add(d.schedule.AcknowledgeWithin)):
		d.activate(next.ID, Unacknowledged)
	}
}

func (d *decision) publishAhead() {
	if _, ok := d.schedule.pending(d.ring); ok || len(d.ring) >= MaxKeys {
		return
	}
	if !d.now.Before(d.publishAt()) {
		d.generate(Pending, PublishAhead)
	}
}

// publishAt returns when the next key must be published for its turn to come in time.
func (d *decision) publishAt() time.Time {
	return d.schedule.NextRotation(d.ring).Add(-d.schedule.PublishLead)
}

func (d *decision) activate(id string, why Why) {
	d.steps = append(d.steps, Step{Kind: Activate, Why: why, ID: id})
	d.ring.activate(d.ring.index(id), why, d.now)
}

func (d *decision) generate(phase Phase, why Why) {
	step := Step{Kind: Generate, Why: why, Phase: phase, Algorithm: d.schedule.Algorithm, Bits: d.schedule.Bits}
	d.steps = append(d.steps, step)
	d.ring = append(d.ring, Key{Algorithm: step.Algorithm, Bits: step.Bits, Phase: Pending, PublishedAt: d.now})
	if phase == Active {
		d.ring.activate(len(d.ring)-1, why, d.now)
	}
}

func (d *decision) nextCheck() time.Time {
	next := d.now.Add(maxWait)
	sooner := func(t time.Time) {
		if t.Before(next) {
			next = t
		}
	}
	for _, k := range d.ring {
		if k.Phase == Retiring {
			sooner(k.Until(d.schedule.Retain))
		}
	}
	turn := d.schedule.NextRotation(d.ring)
	switch _, ok := d.schedule.pending(d.ring); {
	case !ok && len(d.ring) >= MaxKeys: // the first end of a key is what is awaited
	case !ok:
		sooner(d.publishAt())
	case d.now.Before(turn):
		sooner(turn)
	default: // it waits
		sooner(d.now.Add(askAgain))
		sooner(turn.Add(d.schedule.AcknowledgeWithin))
	}
	return next
}
