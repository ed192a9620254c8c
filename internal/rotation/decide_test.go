package rotation_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/latchkey-dev/latchkey/internal/rotation"
)

var (
	start    = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	schedule = rotation.Schedule{
		Algorithm: "ES256", RotateEvery: 30 * time.Minute, PublishLead: 10 * time.Minute, Retain: 20 * time.Minute, AcknowledgeWithin: 5 * time.Minute,
	}
)

func at(minutes int) time.Time { return start.Add(time.Duration(minutes) * time.Minute) }

func pending(id string, published int) rotation.Key {
	return rotation.Key{ID: id, Algorithm: "ES256", Phase: rotation.Pending, PublishedAt: at(published)}
}

func active(id string, published, activated int) rotation.Key {
	k := pending(id, published)
	k.Phase, k.ActivatedAt = rotation.Active, at(activated)
	return k
}

func retiring(id string, published, activated, retired int) rotation.Key {
	k := active(id, published, activated)
	k.Phase, k.RetiredAt = rotation.Retiring, at(retired)
	return k
}

// full is a ring of keys that retire, the first of them until minute 21.
func full(n int) rotation.Ring {
	ring := rotation.Ring{retiring("full0", 0, 0, 1)}
	for i := 1; i < n; i++ {
		ring = append(ring, retiring(fmt.Sprintf("full%d", i), 0, 0, 20))
	}
	return ring
}

func TestDecide(t *testing.T) {
	generate := func(phase rotation.Phase, why rotation.Why) rotation.Step {
		return rotation.Step{Kind: rotation.Generate, Why: why, Phase: phase, Algorithm: "ES256"}
	}
	activate := func(id string, why rotation.Why) rotation.Step {
		return rotation.Step{Kind: rotation.Activate, Why: why, ID: id}
	}
	remove := func(id string, why rotation.Why) rotation.Step {
		return rotation.Step{Kind: rotation.Remove, Why: why, ID: id}
	}
	rs := rotation.Key{ID: "rs", Algorithm: "RS256", Bits: 2048, Phase: rotation.Pending, PublishedAt: at(5)}

	for _, tc := range []struct {
		name         string
		now          time.Time
		change       func(*rotation.Schedule)
		ring         rotation.Ring
		acknowledged []string
		steps        []rotation.Step
		due          string
		next         time.Time
	}{
		{
			name: "bootstraps an empty ring with a key that signs at once",
			now:  at(0), steps: []rotation.Step{generate(rotation.Active, rotation.Bootstrap)}, next: at(20),
		},
		{
			name: "leaves a young key alone until the next must be published",
			now:  at(19), ring: rotation.Ring{active("a", 0, 0)}, next: at(20),
		},
		{
			name: "publishes the next key the lead ahead of its turn",
			now:  at(20), ring: rotation.Ring{active("a", 0, 0)}, steps: []rotation.Step{generate(rotation.Pending, rotation.PublishAhead)}, next: at(30),
		},
		{
			name: "publishes no key into a full ring before the oldest has left",
			now:  at(20), ring: append(full(rotation.MaxKeys-1), active("a", 0, 0)), next: at(21),
		},
		{
			name: "publishes a key as soon as there is room for it",
			now:  at(21), ring: append(full(rotation.MaxKeys-1), active("a", 0, 0)),
			steps: []rotation.Step{remove("full0", rotation.Retained), generate(rotation.Pending, rotation.PublishAhead)}, next: at(31),
		},
		{
			name: "waits for the turn of a published key",
			now:  at(29), ring: rotation.Ring{active("a", 0, 0), pending("b", 20)}, next: at(30),
		},
		{
			name: "activates the next key when its turn has come and it is acknowledged",
			now:  at(30), ring: rotation.Ring{active("a", 0, 0), pending("b", 20)}, acknowledged: []string{"b"},
			steps: []rotation.Step{activate("b", rotation.Due)}, due: "b", next: at(50),
		},
		{
			name: "does not take an acknowledged key before its turn",
			now:  at(29), ring: rotation.Ring{active("a", 0, 0), pending("b", 20)}, acknowledged: []string{"b"}, next: at(30),
		},
		{
			name: "waits for a key to be acknowledged, and looks again soon",
			now:  at(30), ring: rotation.Ring{active("a", 0, 0), pending("b", 20)}, acknowledged: []string{"a"}, due: "b", next: at(30).Add(time.Second),
		},
		{
			name: "looks again when the time to wait is over",
			now:  at(35).Add(-time.Millisecond), ring: rotation.Ring{active("a", 0, 0), pending("b", 20)}, due: "b", next: at(35),
		},
		{
			name: "goes ahead when the time to wait is over",
			now:  at(35), ring: rotation.Ring{active("a", 0, 0), pending("b", 20)},
			steps: []rotation.Step{activate("b", rotation.Unacknowledged)}, due: "b", next: at(55),
		},
		{
			name: "waits from the turn of a key that was published late",
			now:  at(49), ring: rotation.Ring{active("a", 0, 0), pending("b", 35)}, due: "b", next: at(49).Add(time.Second),
		},
		{
			name: "goes ahead at once where it need not wait",
			now:  at(30), change: func(s *rotation.Schedule) { s.AcknowledgeWithin = 0 }, ring: rotation.Ring{active("a", 0, 0), pending("b", 20)},
			steps: []rotation.Step{activate("b", rotation.Unacknowledged)}, due: "b", next: at(50),
		},
		{
			name: "goes ahead at once where it should wait for less than nothing",
			now:  at(30), change: func(s *rotation.Schedule) { s.AcknowledgeWithin = -time.Hour }, ring: rotation.Ring{active("a", 0, 0), pending("b", 20)},
			steps: []rotation.Step{activate("b", rotation.Unacknowledged)}, due: "b", next: at(50),
		},
		{
			name: "replaces a key that is revoked while it waits",
			now:  at(31), change: func(s *rotation.Schedule) { s.Revoked = []string{"b"} }, ring: rotation.Ring{active("a", 0, 0), pending("b", 20)},
			acknowledged: []string{"b"}, steps: []rotation.Step{remove("b", rotation.Revoked), generate(rotation.Pending, rotation.PublishAhead)}, next: at(41),
		},
		{
			name: "holds the lead when the manager was away and published late",
			now:  at(40), ring: rotation.Ring{active("a", 0, 0), pending("b", 35)}, next: at(45),
		},
		{
			name: "publishes before it activates when the manager was away all along",
			now:  at(500), ring: rotation.Ring{active("a", 0, 0)}, steps: []rotation.Step{generate(rotation.Pending, rotation.PublishAhead)}, next: at(510),
		},
		{
			name: "keeps a retiring key until it has been retained",
			now:  at(49), ring: rotation.Ring{retiring("a", 0, 0, 30), active("b", 20, 30)}, next: at(50),
		},
		{
			name: "removes a retiring key when it has been retained",
			now:  at(50), ring: rotation.Ring{retiring("a", 0, 0, 30), active("b", 20, 30)},
			steps: []rotation.Step{remove("a", rotation.Retained), generate(rotation.Pending, rotation.PublishAhead)}, next: at(60),
		},
		{
			name: "treats another algorithm as a rotation that is due, lead included",
			now:  at(1), change: func(s *rotation.Schedule) { s.Algorithm = "EdDSA" }, ring: rotation.Ring{active("a", 0, 0)},
			steps: []rotation.Step{{Kind: rotation.Generate, Why: rotation.PublishAhead, Phase: rotation.Pending, Algorithm: "EdDSA"}}, next: at(11),
		},
		{
			name: "treats another RSA size as a rotation that is due",
			now:  at(1), change: func(s *rotation.Schedule) { s.Algorithm, s.Bits = "RS256", 4096 },
			ring:  rotation.Ring{{ID: "a", Algorithm: "RS256", Bits: 2048, Phase: rotation.Active, PublishedAt: at(0), ActivatedAt: at(0)}},
			steps: []rotation.Step{{Kind: rotation.Generate, Why: rotation.PublishAhead, Phase: rotation.Pending, Algorithm: "RS256", Bits: 4096}}, next: at(11),
		},
		{
			name: "takes no size for the default size of RSA keys",
			now:  at(1), change: func(s *rotation.Schedule) { s.Algorithm = "RS256" },
			ring: rotation.Ring{{ID: "a", Algorithm: "RS256", Bits: 2048, Phase: rotation.Active, PublishedAt: at(0), ActivatedAt: at(0)}}, next: at(20),
		},
		{
			name: "ignores a size for other algorithms",
			now:  at(1), change: func(s *rotation.Schedule) { s.Bits = 2048 }, ring: rotation.Ring{active("a", 0, 0)}, next: at(20),
		},
		{
			name: "removes a pending key of an algorithm that is no longer wanted",
			now:  at(6), ring: rotation.Ring{active("a", 0, 0), rs}, steps: []rotation.Step{remove("rs", rotation.Superseded)}, next: at(20),
		},
		{
			name: "removes all pending keys but the one published for longest",
			now:  at(22), ring: rotation.Ring{active("a", 0, 0), pending("c", 21), pending("b", 20)},
			steps: []rotation.Step{remove("c", rotation.Superseded)}, next: at(30),
		},
		{
			name: "lets the pending key take over at once from a revoked one",
			now:  at(21), change: func(s *rotation.Schedule) { s.Revoked = []string{"a", "unknown"} }, ring: rotation.Ring{active("a", 0, 0), pending("b", 20)},
			steps: []rotation.Step{remove("a", rotation.Revoked), activate("b", rotation.Emergency)}, next: at(41),
		},
		{
			name: "makes a new key at once when none is left to sign",
			now:  at(5), change: func(s *rotation.Schedule) { s.Revoked = []string{"a"} }, ring: rotation.Ring{active("a", 0, 0)},
			steps: []rotation.Step{remove("a", rotation.Revoked), generate(rotation.Active, rotation.Emergency)}, next: at(25),
		},
		{
			name: "does not let a pending key of another algorithm take over",
			now:  at(6), change: func(s *rotation.Schedule) { s.Revoked = []string{"a"} }, ring: rotation.Ring{active("a", 0, 0), rs},
			steps: []rotation.Step{remove("a", rotation.Revoked), remove("rs", rotation.Superseded), generate(rotation.Active, rotation.Emergency)}, next: at(26),
		},
		{
			name: "removes a revoked key that only verifies, and nothing else",
			now:  at(31), change: func(s *rotation.Schedule) { s.Revoked = []string{"a"} }, ring: rotation.Ring{retiring("a", 0, 0, 30), active("b", 20, 30)},
			steps: []rotation.Step{remove("a", rotation.Revoked)}, next: at(50),
		},
		{
			name: "replaces a revoked pending key",
			now:  at(21), change: func(s *rotation.Schedule) { s.Revoked = []string{"b"} }, ring: rotation.Ring{active("a", 0, 0), pending("b", 20)},
			steps: []rotation.Step{remove("b", rotation.Revoked), generate(rotation.Pending, rotation.PublishAhead)}, next: at(31),
		},
		{
			name: "does nothing when the clock went backwards, and looks again within the hour",
			now:  at(-1000), ring: rotation.Ring{retiring("a", 0, 0, 30), active("b", 20, 30), pending("c", 50)}, next: at(-940),
		},
		{
			name: "still revokes when the clock went backwards",
			now:  at(-1000), change: func(s *rotation.Schedule) { s.Revoked = []string{"b"} }, ring: rotation.Ring{active("b", 20, 30), pending("c", 50)},
			steps: []rotation.Step{remove("b", rotation.Revoked), activate("c", rotation.Emergency)}, next: at(-980),
		},
		{
			name: "holds a schedule without durations to seconds",
			now:  at(0), change: func(s *rotation.Schedule) { *s = rotation.Schedule{Algorithm: "ES256"} }, ring: rotation.Ring{active("a", -1, 0)},
			next: at(0).Add(time.Second),
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := schedule
			if tc.change != nil {
				tc.change(&s)
			}
			got := rotation.Decide(tc.now, s, tc.ring, tc.acknowledged...)
			if diff := cmp.Diff(got, rotation.Plan{Steps: tc.steps, Due: tc.due, NextCheck: tc.next}); diff != "" {
				t.Errorf("got -, want +:\n%s", diff)
			}
		})
	}
}

func TestApplyLeavesTheOldRingAlone(t *testing.T) {
	old := rotation.Ring{active("a", 0, 0), pending("b", 20)}
	got, err := old.Apply(at(30), []rotation.Step{{Kind: rotation.Activate, ID: "b"}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(got, rotation.Ring{retiring("a", 0, 0, 30), active("b", 20, 30)}); diff != "" {
		t.Errorf("got -, want +:\n%s", diff)
	}
	if diff := cmp.Diff(old, rotation.Ring{active("a", 0, 0), pending("b", 20)}); diff != "" {
		t.Errorf("the old ring changed: got -, want +:\n%s", diff)
	}
}

func TestApplyRefuses(t *testing.T) {
	ring := rotation.Ring{active("a", 0, 0)}
	generate := rotation.Step{Kind: rotation.Generate, Phase: rotation.Pending}
	for _, tc := range []struct {
		name      string
		step      rotation.Step
		generated []string
	}{
		{name: "to generate without a key", step: generate},
		{name: "a key without an id", step: generate, generated: []string{""}},
		{name: "a key with the id of another", step: generate, generated: []string{"a"}},
		{name: "more keys than are asked for", step: generate, generated: []string{"b", "c"}},
		{name: "to activate what is not there", step: rotation.Step{Kind: rotation.Activate, ID: "b"}},
		{name: "to activate what is not pending", step: rotation.Step{Kind: rotation.Activate, ID: "a"}},
		{name: "to remove what is not there", step: rotation.Step{Kind: rotation.Remove, ID: "b"}},
		{name: "a step of no kind", step: rotation.Step{ID: "a"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got, err := ring.Apply(at(1), []rotation.Step{tc.step}, tc.generated...); err == nil {
				t.Errorf("got %v, want an error", got)
			}
		})
	}
}

func TestNextRotation(t *testing.T) {
	for _, tc := range []struct {
		name string
		ring rotation.Ring
		want time.Time
	}{
		{"is unknown without a key", nil, time.Time{}},
		{"is rotateEvery after the active key began", rotation.Ring{active("a", 0, 0)}, at(30)},
		{"waits for the lead of a key that was published late", rotation.Ring{active("a", 0, 0), pending("b", 25)}, at(35)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := schedule.NextRotation(tc.ring); !got.Equal(tc.want) {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
}
