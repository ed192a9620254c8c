package sidecar

import (
	"net/http"
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
	rule     *int         // of the policy, that decided
	caller   *gate.Caller // whose valid token came with the request
	token    gate.Token
	decision string // id of the refusal; "" where there is none
	audited  bool   // it was let through all the same

	status int   // 0 until there is one
	bytes  int64 // of the body
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

// WriteHeader has the last word on what other origins may do with the answer.
func (a *answer) WriteHeader(status int) {
	if status >= http.StatusOK && a.status == 0 {
		a.status = status
		if a.origins != nil {
			a.origins.Describe(a.Header(), a.request)
		}
	}
	a.ResponseWriter.WriteHeader(status)
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

// Unwrap lets http.ResponseController reach the connection.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }
