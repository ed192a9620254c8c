package sidecar

import (
	"net/http"

	"github.com/latchkey-dev/latchkey/internal/crossorigin"
)

// answer is the way back to the caller, whoever answers: the app, the token service or the sidecar itself. It notes what went over it.
type answer struct {
	http.ResponseWriter
	request *http.Request
	origins *crossorigin.Policy // nil before the first bundle
	status  int                 // 0 until there is one
	bytes   int64               // of the body
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
