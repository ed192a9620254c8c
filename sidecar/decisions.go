package sidecar

import (
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"time"
)

// refusal is one request that was not answered by the app, or was because the policy only audits, as /decisions tells of it. It holds no token, cookie or query.
type refusal struct {
	ID      string    `json:"id"` // the caller was told the same
	Time    time.Time `json:"time"`
	Method  string    `json:"method"`
	Path    string    `json:"path"`
	Status  int       `json:"status"`
	Reason  string    `json:"reason"`
	Audited bool      `json:"audited,omitempty"` // it went on to the app all the same
	Detail  string    `json:"detail,omitempty"`  // in the words of the policy; the caller was not told
	Rule    *int      `json:"rule,omitempty"`    // index in the policy's rules
	Issuer  string    `json:"issuer,omitempty"`
	Subject string    `json:"subject,omitempty"`
}

// decisions remembers the last refusals. What was allowed is not kept: it would push out within milliseconds what people come to look for.
type decisions struct {
	mu   sync.Mutex
	ring [256]refusal
	next int // total number recorded; modulo the ring's length, where the next one goes
}

func (d *decisions) record(r refusal) {
	r.Path = beginning(r.Path, maxRecordedPath)
	r.Method = beginning(r.Method, maxRecordedMethod)
	r.Subject = beginning(r.Subject, maxRecordedSubject)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ring[d.next%len(d.ring)] = r
	d.next++
}

// A caller who is refused must not choose how much we remember.
const (
	maxRecordedPath    = 256
	maxRecordedMethod  = 32
	maxRecordedSubject = 256
)

// beginning returns at most so many bytes of s, as a copy: a part of s would keep the whole request, or the whole token, in memory.
func beginning(s string, limit int) string { return strings.Clone(s[:min(len(s), limit)]) }

// recent returns what is remembered, newest first.
func (d *decisions) recent() []refusal {
	d.mu.Lock()
	defer d.mu.Unlock()
	found := make([]refusal, 0, min(d.next, len(d.ring)))
	for i := d.next - 1; i >= 0 && len(found) < len(d.ring); i-- {
		found = append(found, d.ring[i%len(d.ring)])
	}
	return found
}

// newDecisionID names one refusal among the recent ones of this process. Nothing depends on nobody guessing it.
func newDecisionID() string {
	return strconv.FormatUint(rand.Uint64()|1<<63, 36) //nolint:gosec // see above
}
