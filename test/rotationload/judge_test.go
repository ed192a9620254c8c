package rotationload

import (
	"testing"
	"time"
)

func TestRequestsAreJudgedByWhatTheClientKnows(t *testing.T) {
	exp := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	ended := ends{"retired": exp.Add(-time.Minute), "later": exp.Add(time.Minute)}
	const before, after = -time.Millisecond, time.Millisecond
	for _, test := range []struct {
		name           string
		kid            string
		sent, answered time.Duration // after the token's time is over
		status         int
		want           verdict
	}{
		{"a token that is good is taken", "active", before, before, 200, accepted},
		{"a token that is good is refused", "active", before, before, 401, validRefused},
		{"a token of a key that ends later is refused", "later", before, before, 401, validRefused},
		{"a token that is bad is refused", "active", 0, after, 401, refused},
		{"a token that is bad is taken", "active", 0, after, 200, lateAccepted},
		{"a token of a key that has ended is refused", "retired", 0, after, 401, refused},
		{"a token of a key that has ended is taken", "retired", 0, after, 200, lateAccepted},
		{"a token goes bad meanwhile, and is taken", "active", before, after, 200, onTheEdge},
		{"a token goes bad meanwhile, and is refused", "retired", before, 0, 401, onTheEdge},
		{"no answer", "active", before, before, 0, broken},
		{"another answer, at any time", "retired", after, after, 503, broken},
		{"another answer on the edge", "active", before, after, 403, broken},
	} {
		t.Run(test.name, func(t *testing.T) {
			token := &token{kid: test.kid, exp: exp}
			until := exp.Add(skew)
			if test.kid == "retired" {
				until = ended["retired"]
			}
			got := ended.judge(use{token: token, sent: until.Add(test.sent), answered: until.Add(test.answered), status: test.status})
			if got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestASidecarThatDoesNotKnowTheKeyOfATokenIsAFault(t *testing.T) {
	got := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	record := newRecord(time.Time{})
	record.issue("k", got)
	record.report(0, got.Add(-time.Second), got, nil)
	record.report(0, got, got, []string{"other", "k"})
	if len(record.faults) > 0 {
		t.Errorf("got %v for a sidecar that reports the key in time, want nothing", record.faults)
	}
	record.end("k", got.Add(time.Minute))
	record.report(0, got.Add(time.Second), got.Add(time.Minute), nil)
	if len(record.faults) > 0 {
		t.Errorf("got %v for a sidecar that lets a key go that has ended, want nothing", record.faults)
	}
	record.report(1, got.Add(time.Second), got.Add(time.Second), []string{"other"})
	if len(record.faults) != 1 {
		t.Errorf("got %v for a sidecar that does not know the key, want one fault", record.faults)
	}
}
