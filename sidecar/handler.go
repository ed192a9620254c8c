package sidecar

import (
	"net/http"
	"strconv"
	"time"

	"github.com/latchkey-dev/latchkey/internal/policy"
	"github.com/latchkey-dev/latchkey/sidecar/gate"
	"github.com/latchkey-dev/latchkey/sidecar/problem"
	"github.com/latchkey-dev/latchkey/sidecar/tokenservice"
)

// The reasons for refusals that are neither the gate's nor the token service routes'. They are stable.
const (
	reasonAmbiguousPath  = "ambiguous_path"
	reasonNoPolicy       = "no_policy"
	reasonAppUnreachable = "app_unreachable"
	reasonAppFailed      = "app_failed"
	reasonOriginRefused  = "origin_refused"
	reasonPreflight      = "preflight"
	reasonAppUntrusted   = "app_untrusted"
	reasonOverloaded     = "overloaded"
	reasonBodyTooLarge   = "body_too_large"
	reasonBodyUnreadable = "body_unreadable"
)

// maxRefusals is how many refusals may wait to be taken over HTTP/2, where one caller can have hundreds and take none. They keep nobody else out: such
// requests are under way no more.
const maxRefusals = 10_000

// front answers the requests that come to one port of the app.
type front struct {
	*sidecar
	port uint16
}

// ServeHTTP is the life of a request. It is judged by one snapshot, whatever is loaded meanwhile; what lasts is judged again, see watch.
func (f *front) ServeHTTP(over http.ResponseWriter, r *http.Request) {
	f.flight.enter()
	defer f.flight.leave()
	if f.leaving.begun.Load() {
		over.Header().Set("Connection", "close") // net/http makes GOAWAY of it for HTTP/2
	}
	w := f.begin(over, r)
	defer f.end(w) //nolint:contextcheck // the request that it tells of has its own
	current := w.current

	path, err := policy.Normalize(r.URL.EscapedPath())
	if w.path = path; err != nil {
		f.refuse(w, r, refusal{Status: http.StatusBadRequest, Reason: reasonAmbiguousPath, Path: r.URL.EscapedPath()}, err.Error())
		return
	}
	if current == nil {
		w.Header().Set("Retry-After", "1")
		f.refuse(w, r, refusal{Status: http.StatusServiceUnavailable, Reason: reasonNoPolicy, Path: path}, "")
		return
	}
	if f.flight.n.Load()-f.refusing.Load() > int64(current.traffic.limits.MaxRequests) {
		w.Header().Set("Retry-After", "1")
		f.refuse(w, r, refusal{Status: http.StatusServiceUnavailable, Reason: reasonOverloaded, Path: path}, "")
		return
	}
	if r.Host == "" {
		// HTTP/1.0 allows it. The app would be told one all the same, since no request goes on without, and it would be a loopback address.
		f.refuse(w, r, refusal{Status: http.StatusBadRequest, Reason: string(policy.ReasonHostMissing), Path: path}, "")
		return
	}
	if w.origins.IsPreflight(r) {
		f.answerPreflight(w, r, path)
		return
	}
	if current.routes != nil && current.routes.Covers(path) {
		w.reason = reasonSession
		asked := w.origins.Vouch(r)
		w.span.Announce(asked.Header)
		current.routes.Serve(w, asked, path)
		return
	}

	verdict := current.gate.Judge(r, path, w.began)
	f.metrics.judging.Observe(time.Since(w.began).Seconds())
	if verdict.Renewable {
		var answered bool
		if r, verdict, answered = f.renew(w, r, path, verdict); answered {
			return
		}
	}
	f.metrics.tokens.count(string(verdict.Token))
	w.token, w.caller, w.session = verdict.Token, verdict.Caller, verdict.Session
	if !verdict.Allow {
		f.refuseByVerdict(w, r, path, verdict)
		return
	}
	w.reason, w.rule = string(verdict.Reason), verdict.Rule
	if verdict.Audited {
		f.audit(w, r, path, verdict)
	} else {
		f.metrics.allowed.count(string(verdict.Reason))
	}
	f.pass(w, r, path, current, verdict.Caller)
}

// answerPreflight tells a browser whether a page of another origin may send a request. It asks without the user's credentials, so no rule can
// be asked.
func (f *front) answerPreflight(w *answer, r *http.Request, path string) {
	if !w.origins.Allows(r) {
		f.refuse(w, r, refusal{Status: http.StatusForbidden, Reason: reasonOriginRefused, Path: path}, "")
		return
	}
	w.reason = reasonPreflight
	f.metrics.allowed.count(reasonPreflight)
	w.WriteHeader(http.StatusNoContent)
}

func (f *front) refuseByVerdict(w http.ResponseWriter, r *http.Request, path string, verdict gate.Verdict) {
	if verdict.Challenge != "" {
		w.Header().Set("WWW-Authenticate", verdict.Challenge)
	}
	if verdict.Status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "5")
	}
	f.refuse(w, r, refusalOf(path, verdict), "")
}

// audit remembers a request that goes on to the app because the policy only audits. Callers notice nothing.
func (f *front) audit(w *answer, r *http.Request, path string, verdict gate.Verdict) {
	told := refusalOf(path, verdict)
	told.ID, told.Time, told.Method = newDecisionID(), time.Now(), r.Method
	f.decisions.record(told)
	f.metrics.audited.WithLabelValues(strconv.Itoa(told.Status), told.Reason).Inc()
	w.decision, w.audited = told.ID, true
}

func refusalOf(path string, verdict gate.Verdict) refusal {
	told := refusal{Status: verdict.Status, Reason: string(verdict.Reason), Path: path, Audited: verdict.Audited, Detail: verdict.Detail}
	if rule := verdict.Rule; rule != policy.NoRule {
		told.Rule = &rule
	}
	if verdict.Caller != nil {
		told.Issuer, told.Subject = verdict.Caller.Issuer, verdict.Caller.Subject
	}
	return told
}

// refuse answers in the app's place, and remembers that it did. The caller has filled in what it knows.
func (s *sidecar) refuse(w http.ResponseWriter, r *http.Request, told refusal, detail string) {
	giveUpBody(w, r)
	told.ID, told.Time, told.Method = newDecisionID(), time.Now(), r.Method
	s.decisions.record(told)
	s.metrics.refused.WithLabelValues(strconv.Itoa(told.Status), told.Reason).Inc()
	if a := answerOf(w); a != nil {
		a.decision, a.reason, a.path, a.rule = told.ID, told.Reason, told.Path, policy.NoRule
		if told.Rule != nil {
			a.rule = *told.Rule
		}
		if a.current != nil && a.current.routes != nil && told.Status == http.StatusUnauthorized {
			if page := a.current.routes.SignIn(r, told.Path); page != "" {
				w.Header().Del("WWW-Authenticate")
				tokenservice.SeeOther(w, page)
				return
			}
		}
	}
	if r.ProtoMajor == 2 {
		defer s.refusing.Add(-1)
		if s.refusing.Add(1) > maxRefusals {
			panic(http.ErrAbortHandler) // resets the stream, which waits for nobody
		}
	}
	problem.Write(w, r, problem.Problem{Status: told.Status, Reason: string(gate.Reason(told.Reason).Told()), Detail: detail, Decision: told.ID})
}

// refuseRoute is refuse for the routes of the token service.
func (s *sidecar) refuseRoute(w http.ResponseWriter, r *http.Request, status int, reason string) {
	s.refuse(w, r, refusal{Status: status, Reason: reason, Path: r.URL.Path}, "")
}
