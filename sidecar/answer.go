package sidecar

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/latchkey-dev/latchkey/internal/crossorigin"
	"github.com/latchkey-dev/latchkey/internal/tracing"
	"github.com/latchkey-dev/latchkey/sidecar/gate"
)

// answer is the way back to the caller, whoever answers: the app, the token service or the sidecar itself. It notes what went over it, and why.
type answer struct {
	http.ResponseWriter
	request *http.Request
	current *snapshot           // that the request is judged by; nil before the first bundle
	origins *crossorigin.Policy // of current
	span    *tracing.Span
	began   time.Time

	path     string // normalised; as it came where that cannot be
	reason   string
	rule     int          // of the policy, that decided; or policy.NoRule
	caller   *gate.Caller // whose valid token came with the request
	token    gate.Token
	decision string   // id of the refusal; "" where there is none
	audited  bool     // it was let through all the same
	passed   bool     // the app is asked
	session  bool     // the cookie of a session says who the caller is
	cookies  []string // values of Set-Cookie, of a session that was renewed or has ended

	status int   // 0 until there is one
	bytes  int64 // of the body

	exchange exchange // begins when the app is asked
	crossed  bool     // the app was asked without net/http, which could still be at it when the request is over
}

var answers = sync.Pool{New: func() any { return new(answer) }}

// release has the answer used for another request, unless somebody may still look at it.
func (a *answer) release() {
	if a.crossed && !a.exchange.shown {
		*a = answer{}
		answers.Put(a)
	}
}

// answerOf finds the answer below whatever was put around it.
func answerOf(w http.ResponseWriter) *answer {
	for {
		switch each := w.(type) {
		case *answer:
			return each
		case interface{ Unwrap() http.ResponseWriter }:
			w = each.Unwrap()
		default:
			return nil
		}
	}
}

// WriteHeader has the last word on what other origins, caches and the browser may do with the answer.
func (a *answer) WriteHeader(status int) {
	if status >= http.StatusOK && a.status == 0 {
		a.status = status
		if a.origins != nil {
			a.origins.Describe(a.Header(), a.request)
		}
		a.guard(a.Header())
		if !a.exchange.answered.Load() {
			a.boundTaking()
		}
		if _, known := a.Header()["Content-Type"]; !known && a.passed {
			a.Header()["Content-Type"] = nil // net/http would guess one; or not, as the app's answer arrives
		}
	}
	a.ResponseWriter.WriteHeader(status)
}

// changesHeader reports whether the header of an answer can be another than the app's.
func (a *answer) changesHeader() bool {
	return len(a.Header()) > 0 || a.origins.Describes() || a.current.routes != nil
}

// Write counts.
func (a *answer) Write(p []byte) (int, error) {
	if a.status == 0 {
		a.WriteHeader(http.StatusOK)
	}
	n, err := a.ResponseWriter.Write(p)
	a.bytes += int64(n)
	return n, err
}

// boundTaking bounds for how long the caller may take what is sent while no watch is kept: what the sidecar or a token service answers; and over HTTP/1, the
// end of what the app does. Net/http sends both when the handler has returned, and would wait for ever.
func (a *answer) boundTaking() {
	if _, plain := a.ResponseWriter.(line); plain && a.reason != reasonSession {
		return // it is short, and our own server sees to its end
	}
	deadline := time.Now().Add(a.current.limits().StallTimeout)
	_ = http.NewResponseController(a.ResponseWriter).SetWriteDeadline(deadline) // who has gone takes nothing
}

// Unwrap lets http.ResponseController reach the connection.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// guard brings the caller the cookies of its session, and keeps what is meant for one caller out of caches that others share. With an
// Authorization header they know that by themselves (RFC 9111 section 3.5); of a cookie they think nothing.
func (a *answer) guard(header http.Header) {
	if a.current == nil || a.current.routes == nil {
		return
	}
	adopted := a.passed && a.current.routes.Adopt(header)
	if adopted || a.caller != nil && gate.Revoked(a.caller) {
		a.cookies = nil // of a session that is over: there may be another by now
	}
	switch {
	case len(a.cookies) > 0 || adopted:
		for name := range header {
			if name == "Expires" || name == "Surrogate-Control" || strings.HasSuffix(name, "Cache-Control") { // RFC 9213 has more of the last
				delete(header, name)
			}
		}
		header["Cache-Control"] = []string{"no-store"}
		header["Set-Cookie"] = slices.Concat(header["Set-Cookie"], a.cookies)
	case a.session && !shareable(header):
		header["Cache-Control"] = append(slices.Clone(header["Cache-Control"]), "private")
	}
}

// shareable says whether the app has said who may keep its answer.
func shareable(header http.Header) bool {
	for _, value := range header["Cache-Control"] {
		for directive := range strings.SplitSeq(value, ",") {
			name, _, _ := strings.Cut(strings.TrimSpace(directive), "=")
			switch strings.ToLower(name) {
			case "public", "s-maxage", "private", "no-store":
				return true
			}
		}
	}
	return false
}
