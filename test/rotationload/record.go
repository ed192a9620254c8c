package rotationload

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// record is all that was tried and seen.
type record struct {
	began time.Time

	mu         sync.Mutex
	ends       ends
	signedBy   map[string][]string          // kids that have signed, by SigningKey, in order
	issued     map[string]time.Time         // when the first token of a kid was there
	reported   map[int]map[string]time.Time // when a sidecar first reported a kid
	uses       []use
	tokens     int
	logins     int
	refreshes  int
	reports    int
	outages    int
	restarts   map[string]int // by what was killed
	faults     []string
	told       map[string]bool // what faults were about
	faultCount int
}

func newRecord(began time.Time) *record {
	return &record{
		began: began, ends: ends{}, signedBy: map[string][]string{}, issued: map[string]time.Time{},
		reported: map[int]map[string]time.Time{}, restarts: map[string]int{}, told: map[string]bool{},
	}
}

// maxFaults is how many faults are told.
const maxFaults = 40

// fault notes what must not happen. It is counted each time, and told once for each subject. The caller holds the lock.
func (r *record) fault(when time.Time, subject, format string, args ...any) {
	if r.faultCount++; len(r.faults) < maxFaults && !r.told[subject] {
		r.told[subject] = true
		r.faults = append(r.faults, fmt.Sprintf("+%.3fs ", when.Sub(r.began).Seconds())+fmt.Sprintf(format, args...))
	}
}

func (r *record) fails(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fault(time.Now(), fmt.Sprintf(format, args...), format, args...)
}

// used notes a request.
func (r *record) used(u use) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.uses = append(r.uses, u)
}

// issue notes that a token of a kid is there.
func (r *record) issue(kid string, when time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tokens++
	if first, known := r.issued[kid]; !known || when.Before(first) {
		r.issued[kid] = when
	}
}

// end notes the end of a key, as it is published.
func (r *record) end(kid string, end time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ends[kid] = end
}

// signs notes the key of a SigningKey that signs now.
func (r *record) signs(name, kid string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Contains(r.signedBy[name], kid) {
		r.signedBy[name] = append(r.signedBy[name], kid)
	}
}

// report notes which keys a sidecar says that it holds. Every token that was there when it was asked had been signed by then: it must hold
// their keys, but for those that have ended.
func (r *record) report(sidecar int, asked, answered time.Time, kids []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reports++
	seen := r.reported[sidecar]
	if seen == nil {
		seen = map[string]time.Time{}
		r.reported[sidecar] = seen
	}
	for _, kid := range kids {
		if _, before := seen[kid]; !before {
			seen[kid] = answered
		}
	}
	for kid, issued := range r.issued {
		end, ended := r.ends[kid]
		if !asked.Before(issued) && (!ended || answered.Before(end)) && !slices.Contains(kids, kid) {
			r.fault(asked, fmt.Sprint("does not hold", sidecar, kid), "sidecar %d does not hold %s, of which there are tokens for %s", sidecar, kid, asked.Sub(issued))
		}
	}
}

// goodUntil is when a token goes bad, by what is known now.
func (r *record) goodUntil(t *token) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	until, _ := r.ends.goodUntil(t)
	return until
}

// outlived says of each SigningKey how many of its keys have ended long enough ago that their tokens were tried afterwards.
func (r *record) outlived(now time.Time) map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	count := map[string]int{}
	for name, kids := range r.signedBy {
		for _, kid := range kids {
			if end, ended := r.ends[kid]; ended && now.After(end.Add(afterwards)) {
				count[name]++
			}
		}
	}
	return count
}

func (r *record) killed(what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.restarts[what]++
}

func (r *record) kills() map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.restarts)
}

// missing are the things that a run must have seen to prove anything.
func (r *record) missing(now time.Time) []string {
	var missing []string
	outlived := r.outlived(now)
	for _, name := range []string{sessions, login} {
		if outlived[name] == 0 {
			missing = append(missing, "a key of "+name+" that was outlived")
		}
	}
	kills := r.kills()
	for _, what := range []string{oneManager, allManagers, apiServer, etcd} {
		if kills[what] == 0 {
			missing = append(missing, "kill of "+what)
		}
	}
	return missing
}

// progress is what was tried so far, in one line.
func (r *record) progress() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return fmt.Sprintf("%d requests, %d tokens, %d keys of %s and %d of %s, %d faults but for those of requests",
		len(r.uses), r.tokens, len(r.signedBy[sessions]), sessions, len(r.signedBy[login]), login, r.faultCount)
}
