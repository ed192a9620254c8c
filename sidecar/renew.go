package sidecar

import (
	"net/http"
	"time"

	"github.com/latchkey-dev/latchkey/internal/credential"
	"github.com/latchkey-dev/latchkey/sidecar/gate"
	"github.com/latchkey-dev/latchkey/sidecar/tokenservice"
)

// reasonRenewed is why a browser is told to ask once more.
const reasonRenewed = "session_renewed"

// renew gets a user whose access token has run out a new one, by the session in their cookie, and returns the request as if it had come with that,
// and the verdict on it. A session that cannot be renewed leaves both as they are: it depends on the rule what comes of it.
//
// Where the browser can, it is told to ask once more before the app is asked at all. A new refresh token that waited for a slow app would come too
// late, or never: the one before is good for seconds only, and to use it after that looks like theft. That a session has ended comes so, too.
func (f *front) renew(w *answer, r *http.Request, path string, verdict gate.Verdict) (_ *http.Request, _ gate.Verdict, answered bool) {
	renewal := w.current.routes.Renew(r, time.Now())
	if renewal.Outcome == tokenservice.NotRenewed {
		return r, verdict, false
	}
	f.metrics.renewals.WithLabelValues(string(renewal.Outcome)).Inc()
	w.cookies = renewal.Cookies
	switch renewal.Outcome {
	case tokenservice.Unavailable:
		if !verdict.Allow { // 401 would ask somebody to sign in who is signed in
			verdict.Status, verdict.Reason, verdict.Challenge = http.StatusServiceUnavailable, tokenservice.ReasonUnreachable, ""
		}
	case tokenservice.Renewed:
		renewed := *r
		renewed.Header = credential.WithAccess(r.Header, renewal.Access)
		r, verdict = &renewed, w.current.gate.Judge(&renewed, path, time.Now())
		if verdict.Caller != nil && !renewal.Recalled && repeatable(r) {
			f.askAgain(w, r, path)
			return r, verdict, true
		}
	case tokenservice.Ended:
		// To a browser that waits for the app, it would come when somebody may have signed in by another tab.
		switch {
		case !verdict.Allow || len(w.cookies) == 0:
		case !renewal.Recalled && repeatable(r):
			f.askAgain(w, r, path)
			return r, verdict, true
		default:
			w.cookies = nil
		}
	case tokenservice.NotRenewed:
	}
	return r, verdict, false
}

// repeatable says whether a browser asks once more without further ado, and nothing comes of it.
func repeatable(r *http.Request) bool {
	return (r.Method == http.MethodGet || r.Method == http.MethodHead) && len(r.Header["Upgrade"]) == 0
}

// askAgain sends the browser to where it is, with its new cookies.
func (f *front) askAgain(w *answer, r *http.Request, path string) {
	giveUpBody(w, r)
	w.reason = reasonRenewed
	f.metrics.allowed.count(reasonRenewed)
	if r.URL.RawQuery != "" || r.URL.ForceQuery {
		path += "?" + r.URL.RawQuery
	}
	w.Header().Set("Location", path)
	w.WriteHeader(http.StatusTemporaryRedirect)
}
