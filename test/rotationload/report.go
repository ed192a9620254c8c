package rotationload

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// report is what a run comes to.
type report struct {
	*record
	verdicts map[verdict]int
	// byKey are the requests that were refused because the token's key had ended; the others were sent after their exp.
	byKey int
	// lastSecond are the tokens that were taken within the last second of their time, and refused after it.
	lastSecond int
	// closest are how near to the end of a token's time one was taken, and refused.
	closestTaken, closestRefused time.Duration
	// margin is the shortest time from when a sidecar reported a key to the first token of that key.
	margin time.Duration
}

// sum judges everything. Nobody may write to the record any more.
func sum(r *record) *report {
	s := &report{record: r, verdicts: map[verdict]int{}, closestTaken: time.Hour, closestRefused: time.Hour, margin: time.Hour}
	taken, turned := map[*token]bool{}, map[*token]bool{}
	for _, u := range r.uses {
		until, byKey := r.ends.goodUntil(u.token)
		v := r.ends.judge(u)
		s.verdicts[v]++
		switch {
		case v == accepted:
			left := until.Sub(u.answered)
			s.closestTaken = min(s.closestTaken, left)
			taken[u.token] = taken[u.token] || left < time.Second
		case v == refused:
			s.closestRefused = min(s.closestRefused, u.sent.Sub(until))
			turned[u.token] = true
			if byKey {
				s.byKey++
			}
		case v.fault():
			r.fault(u.sent, fmt.Sprint(v, u.sidecar, u.detail, u.token.kid), "%s: sidecar %d, status %d %s, key %s, sent %s and answered %s before the end of the token's time, got %s before",
				v, u.sidecar, u.status, u.detail, u.token.kid, until.Sub(u.sent), until.Sub(u.answered), u.sent.Sub(u.token.got))
		}
	}
	for t := range taken {
		if taken[t] && turned[t] {
			s.lastSecond++
		}
	}
	for kid, issued := range r.issued {
		for sidecar := range r.reported {
			if seen, ok := r.reported[sidecar][kid]; ok && !seen.Before(r.began.Add(time.Second)) { // those from before the run were not seen to come
				s.margin = min(s.margin, issued.Sub(seen))
			}
		}
	}
	return s
}

func (s *report) String() string {
	var text strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&text, "  "+format+"\n", args...) }
	line("requests                 %d", len(s.uses))
	for v := accepted; v <= broken; v++ {
		line("  %-22s %d", v, s.verdicts[v])
	}
	line("  refused for the key    %d, the others for their own exp", s.byKey)
	line("tokens                   %d, after %d sign-ins and %d refreshes, or signed by a server of one's own", s.tokens, s.logins, s.refreshes)
	line("  to their last second   %d taken in it and refused after it; the closest %s before and %s after", s.lastSecond,
		s.closestTaken.Round(time.Microsecond), s.closestRefused.Round(time.Microsecond))
	outlived := s.outlived(time.Now())
	for _, name := range slices.Sorted(maps.Keys(s.signedBy)) {
		line("rotations of %-10s  %d; %d keys outlived", name, len(s.signedBy[name])-1, outlived[name])
	}
	for _, what := range slices.Sorted(maps.Keys(s.restarts)) {
		line("killed %-16s  %d times", what, s.restarts[what])
	}
	line("reports of sidecars      %d; a key was held by every sidecar %s or more before its first token", s.reports, s.margin.Round(time.Millisecond))
	line("the API did not answer   %d times", s.outages)
	line("faults                   %d", s.faultCount)
	for _, fault := range s.faults {
		line("  %s", fault)
	}
	return text.String()
}
