package sidecar

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/latchkey-dev/latchkey/sidecar/gate"
	"github.com/latchkey-dev/latchkey/sidecar/problem"
)

// exchange is one request that was let through, from then until its answer has ended. It stands between the server and the way to the app, as
// the writer of the answer and the reader of the body, and notes there who waits for whom. That costs two stores an operation and no
// timer: what comes of it is seen by the sweeps of a watch.
type exchange struct {
	http.ResponseWriter
	front    *front
	request  *http.Request           // as it came
	path     string                  // normalised
	grpc     bool                    // a call without haste: it brings its own deadline
	line     line                    // nil: net/http cancels the request's context when the caller hangs up
	cancel   context.CancelCauseFunc // ends the way to the app
	body     io.ReadCloser           // nil: there is none
	bodyErr  atomic.Pointer[error]   // what went wrong with it
	bodyRead atomic.Bool             // to its end
	hungUp   atomic.Bool             // the caller
	refused  bool                    // an answer was given in the app's place
	answered atomic.Bool             // the app has begun its answer; from then on the two may be silent as they like

	// In ticks of the watch; 0: no such thing is going on.
	reading atomic.Int64 // since then the caller has sent nothing that we wait for
	writing atomic.Int64 // since then the caller has taken nothing of what we send
	waiting atomic.Int64 // since then, unless we are reading, it is the app's turn

	shelf *shelf
	again sync.WaitGroup // it is judged again, for which the request has to stay as it is
	// What follows is guarded by the shelf's lock while the exchange is watched.
	prev, next *exchange
	gone       bool         // it is watched no more
	shown      bool         // to somebody who looks at it without the lock, and may come when it is gone
	judged     *snapshot    // that allowed it last
	caller     *gate.Caller // whom the app was told of; nil: nobody
	ended      *ending
	cut        bool // the deadline for writing was moved, to get out of a write that nobody takes
}

// ending is why an exchange ended before its time.
type ending struct{ gate.Verdict }

func (e *ending) Error() string { return "ended by the sidecar: " + string(e.Reason) }

// The reasons why an exchange ends that its token is no reason for.
const (
	reasonCallerStalled gate.Reason = "caller_stalled"
	reasonAppTimeout    gate.Reason = "app_timeout"
	reasonTokenRefused  gate.Reason = "token_refused" // by the policy in force now, though nobody needs one
)

// pass is what happens to a request that was let through.
func (f *front) pass(w http.ResponseWriter, r *http.Request, path string, current *snapshot, caller *gate.Caller) {
	limit := current.traffic.limits.MaxBodyBytes
	if limit > 0 && r.ContentLength > limit {
		f.refuse(w, r, refusal{Status: http.StatusRequestEntityTooLarge, Reason: reasonBodyTooLarge, Path: path}, "")
		return
	}
	told := answerOf(w)
	told.passed = true
	e := &told.exchange
	e.ResponseWriter, e.front, e.request, e.path, e.grpc, e.judged, e.caller = w, f, r, path, problem.IsGRPC(r), current, caller
	e.line, _ = told.ResponseWriter.(line)
	p := passage{front: f, exchange: e, gate: current.gate, caller: caller, told: told}
	if c := current.app.cross(p, f.port); c != nil {
		told.crossed = true
		defer c.release() // when nobody can cancel it any more
		e.cancel = c.cancel
		e.bodyRead.Store(true)
		f.watch.enter(e)
		defer f.leave(e)
		c.pass() //nolint:contextcheck // what a request leaves behind has a context of its own
		return
	}

	ctx, cancel := context.WithCancelCause(r.Context())
	e.cancel = cancel
	out := r.WithContext(ctx)
	if r.Body != nil && r.Body != http.NoBody {
		// Else net/http would swallow the rest of an HTTP/1 request's body before it sends a byte of the answer.
		_ = http.NewResponseController(w).EnableFullDuplex() // it is supported where it is needed
		e.body = r.Body
		if limit > 0 {
			e.body = http.MaxBytesReader(w, r.Body, limit)
		}
		out.Body = exchangeBody{e}
	}
	f.watch.enter(e)
	defer f.leave(e)
	current.app.forward(e, out, f.port, p) //nolint:contextcheck // likewise
}

// passage is what the sidecar has to say about one request on its way through.
type passage struct {
	front    *front
	exchange *exchange
	gate     *gate.Gate   // that let it through
	caller   *gate.Caller // whom the app is told of; nil: nobody
	told     *answer
}

// introduce has the last word on what the app sees.
func (p passage) introduce(out *http.Request) {
	p.gate.Introduce(p.exchange.request, out, p.caller)
	p.told.span.Announce(out.Header)
}

// settle has the last word on what the app answers.
func (p passage) settle(answer *http.Response) {
	p.gate.Settle(p.exchange.request, p.caller, answer)
	if answer.StatusCode == http.StatusSwitchingProtocols {
		p.told.status = answer.StatusCode // it is written to the connection itself
		p.told.guard(answer.Header)
	}
}

// failed answers where the app did not.
func (p passage) failed(err error) {
	f, e, w, r := p.front, p.exchange, p.exchange.ResponseWriter, p.exchange.request
	if e.answered.Load() {
		panic(http.ErrAbortHandler) // half an answer must not look like a whole one
	}
	e.forgetRest()
	if ended := e.endedBy(); ended != nil {
		e.refused = true
		f.refuseByVerdict(w, r, e.path, ended.Verdict)
		return
	}
	if r.Context().Err() != nil || e.hungUp.Load() {
		// The caller has gone, or the sidecar is going. To return would be to answer 200 with an empty body.
		panic(http.ErrAbortHandler)
	}
	if e.bodyErr.Load() != nil {
		told := refusal{Status: http.StatusBadRequest, Reason: reasonBodyUnreadable, Path: e.path}
		var tooLarge *http.MaxBytesError
		if errors.As(*e.bodyErr.Load(), &tooLarge) {
			told.Status, told.Reason = http.StatusRequestEntityTooLarge, reasonBodyTooLarge
		}
		f.refuse(w, r, told, "")
		return
	}
	reason := reasonAppFailed
	var dial *net.OpError
	var untrusted *tls.CertificateVerificationError
	switch {
	case errors.As(err, &untrusted):
		reason = reasonAppUntrusted
	case errors.As(err, &dial) && dial.Op == "dial":
		reason = reasonAppUnreachable
	}
	// Cut short, as net/http quotes what it could not read, however long that is and whoever's.
	f.log.WarnContext(r.Context(), "the app does not answer", "port", f.port, "reason", reason, "error", fmt.Sprintf("%.200v", err))
	f.refuse(w, r, refusal{Status: http.StatusBadGateway, Reason: reason, Path: e.path}, "")
}

// leave is the end of an exchange, however it came about.
func (f *front) leave(e *exchange) {
	f.watch.leave(e)
	e.again.Wait()
	e.cancel(nil)
	if !e.bodyRead.Load() {
		giveUpBody(e.ResponseWriter, e.request)
	}
	if e.ended == nil {
		return
	}
	if e.cut {
		_ = http.NewResponseController(e.ResponseWriter).SetWriteDeadline(time.Time{})
	}
	f.metrics.ended.WithLabelValues(string(e.ended.Reason)).Inc()
	if e.refused {
		return
	}
	told := refusalOf(e.path, e.ended.Verdict)
	told.ID, told.Time, told.Method = newDecisionID(), time.Now(), e.request.Method
	f.decisions.record(told)
	if a := answerOf(e.ResponseWriter); a != nil {
		a.decision, a.reason = told.ID, told.Reason // for the line that is written when the request is over
	}
}

// bodyRest is how long a caller whose request is answered may take to send what is left of its body, before the connection is closed.
const bodyRest = time.Second

// due returns why the exchange has to end now, or nil.
func (e *exchange) due(now time.Time) *ending {
	traffic := &e.judged.traffic
	late := func(since *atomic.Int64, limit time.Duration) bool {
		at := since.Load()
		return at != 0 && now.UnixNano()-at > int64(limit)
	}
	switch reading := e.reading.Load() != 0; {
	case late(&e.writing, traffic.limits.StallTimeout):
		return &ending{gate.Verdict{Status: http.StatusRequestTimeout, Reason: reasonCallerStalled}}
	case e.answered.Load() || e.grpc:
	case reading && late(&e.reading, traffic.limits.StallTimeout):
		return &ending{gate.Verdict{Status: http.StatusRequestTimeout, Reason: reasonCallerStalled}}
	case !reading && late(&e.waiting, traffic.upstream.ResponseTimeout):
		return &ending{gate.Verdict{Status: http.StatusGatewayTimeout, Reason: reasonAppTimeout}}
	}
	if e.caller == nil {
		return nil
	}
	return withdrawn(e.judged.gate.Recheck(e.caller, now), e.caller)
}

// end makes the way to the app give up. What the caller sees of it depends on how far the answer was.
func (e *exchange) end(why *ending) {
	e.ended = why
	e.cancel(why)
	e.force()
}

// force gets the exchange out of waiting for the caller, which sees nothing of a context that has ended. Over HTTP/1 and HTTP/2, deadlines can
// be set.
func (e *exchange) force() {
	longAgo := time.Unix(1, 0)
	if e.reading.Load() != 0 {
		_ = http.NewResponseController(e.ResponseWriter).SetReadDeadline(longAgo)
	}
	if e.writing.Load() != 0 {
		e.cut = true
		_ = http.NewResponseController(e.ResponseWriter).SetWriteDeadline(longAgo)
	}
}

// forgetRest has an HTTP/1 connection closed after an answer that did not wait for the end of the request's body. What is left of the body may be
// anything, malformed too, and net/http would look for the next request in it.
func (e *exchange) forgetRest() {
	if e.request.ProtoMajor == 1 && e.body != nil && !e.bodyRead.Load() {
		e.Header().Set("Connection", "close")
	}
}

// giveUpBody bounds the wait for the rest of a request's body, which over HTTP/1 net/http would do for ever, once the answer is sent.
func giveUpBody(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor == 1 && r.Body != nil && r.Body != http.NoBody {
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyRest))
	}
}

// endedBy returns why the exchange was ended, or nil.
func (e *exchange) endedBy() *ending {
	e.shelf.mu.Lock()
	defer e.shelf.mu.Unlock()
	return e.ended
}

// Unwrap is for http.ResponseController.
func (e *exchange) Unwrap() http.ResponseWriter { return e.ResponseWriter }

// WriteHeader begins the answer, unless the status is an interim one.
func (e *exchange) WriteHeader(status int) {
	if status >= http.StatusOK {
		e.answered.Store(true)
		e.forgetRest()
	} else { // it is sent at once
		e.writing.Store(e.front.watch.tick.Load())
		defer e.writing.Store(0)
	}
	e.ResponseWriter.WriteHeader(status)
}

// Write sends a part of the answer's body.
func (e *exchange) Write(p []byte) (int, error) {
	e.writing.Store(e.front.watch.tick.Load())
	n, err := e.ResponseWriter.Write(p)
	e.writing.Store(0)
	return n, err
}

// FlushError is for http.ResponseController.
func (e *exchange) FlushError() error {
	e.writing.Store(e.front.watch.tick.Load())
	defer e.writing.Store(0)
	return http.NewResponseController(e.ResponseWriter).Flush()
}

// Hijack is for http.ResponseController: a WebSocket has begun.
func (e *exchange) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	e.answered.Store(true)
	conn, buffered, err := http.NewResponseController(e.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	return &webSocket{Conn: conn, exchange: e}, buffered, nil
}

// exchangeBody is the body of an exchange's request.
type exchangeBody struct{ *exchange }

func (b exchangeBody) Read(p []byte) (int, error) {
	b.reading.Store(b.front.watch.tick.Load())
	n, err := b.body.Read(p)
	b.waiting.Store(b.front.watch.tick.Load())
	b.reading.Store(0)
	switch {
	case errors.Is(err, io.EOF):
		b.bodyRead.Store(true)
	case err != nil:
		b.bodyErr.CompareAndSwap(nil, &err)
	}
	return n, err
}

func (b exchangeBody) Close() error { return b.body.Close() }

// withdrawn is the ending for a token that is not taken any more, or nil where reason is "".
func withdrawn(reason gate.Reason, caller *gate.Caller) *ending {
	if reason == "" {
		return nil
	}
	return &ending{gate.Withdrawn(reason, caller)}
}
