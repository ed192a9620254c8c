package issuer

import (
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"net/http"
	"slices"

	"github.com/latchkey-dev/latchkey/internal/issuer/store"
	"github.com/latchkey-dev/latchkey/internal/tracing"
)

// event is what a line of the audit log tells of. The texts of this and of outcome are part of the interface: people alert on them.
type event string

const (
	eventSignIn       event = "sign_in"       // an attempt, whatever became of it
	eventRefresh      event = "refresh"       // one that proves something about the session; most leave no line
	eventSessionEnded event = "session_ended" // by whatever
	eventSignOutAll   event = "sign_out_all"  // a user's sessions were asked to end; those that were there have lines of their own
)

type outcome string

const (
	success outcome = "success"
	failure outcome = "failure"
)

// unknownUser is who signed in by a name that nobody here knows: people type their password into the wrong field.
const unknownUser = "(unknown)"

// audit writes what has to be accounted for: lines of the log with the message "audit", an event, an outcome and a reason. One is made for each
// request, and says where that came from. Most requests leave no line, so nothing is put into words before there is one.
type audit struct {
	log   *slog.Logger
	facts []any       // what each line says
	trace http.Header // the request's place in a trace, for those who are asked on its behalf
}

func (h *handler) auditFor(r *http.Request, device store.Device) audit {
	var id [8]byte
	rand.Read(id[:])
	a := audit{h.log, []any{"request", hex.EncodeToString(id[:]), "address", device.Address, "peer", r.RemoteAddr}, http.Header{}}
	tracing.Pass(r.Header, a.trace)
	if trace := tracing.Incoming(r.Header).TraceIDText(); trace != "" {
		return a.with("trace", trace)
	}
	return a
}

// with says more: user and session, or by whom something is done.
func (a audit) with(what ...any) audit { return audit{a.log, slices.Concat(a.facts, what), a.trace} }

func (a audit) of(s store.Session) audit { return a.with("user", s.User, "session", s.ID) }

// tell writes one line. What failed, and what points to a theft, is a warning.
func (a audit) tell(what event, how outcome, why string, more ...any) {
	line := a.with("event", what, "outcome", how)
	if why != "" {
		line = line.with("reason", why)
	}
	if how == failure {
		line.log.Warn("audit", slices.Concat(line.facts, more)...)
		return
	}
	line.log.Info("audit", slices.Concat(line.facts, more)...)
}

// debug writes a line for whoever looks for a fault, and not for the audit.
func (a audit) debug(message string, more ...any) {
	a.log.Debug(message, slices.Concat(a.facts, more)...)
}

// refused tells of an attempt that came to nothing.
func (a audit) refused(what event, err error) {
	a.tell(what, failure, string(reasonOf(err)))
}
