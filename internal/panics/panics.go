// Package panics makes a handler that panics heard. net/http ends the connection and writes to its error log, where port scanners and callers
// that hang up are as well, so nobody reads it.
package panics

import (
	"log/slog"
	"net/http"
	"runtime/debug"
)

// Heard returns next with its panics logged as errors, with their stack. The connection is ended as before. http.ErrAbortHandler is no
// panic but a way to end a connection on purpose, and stays silent.
func Heard(next http.Handler, log *slog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			switch cause := recover(); cause {
			case nil:
			case http.ErrAbortHandler:
				panic(cause)
			default:
				log.ErrorContext(r.Context(), "a handler panicked", "method", r.Method, "panic", cause, "stack", string(debug.Stack()))
				panic(http.ErrAbortHandler)
			}
		}()
		next.ServeHTTP(w, r)
	})
}
