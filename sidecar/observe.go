package sidecar

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/latchkey-dev/latchkey/internal/bundle"
	"github.com/latchkey-dev/latchkey/internal/policy"
	"github.com/latchkey-dev/latchkey/internal/tracing"
)

// reasonSession is why a request that the token service answers was let through.
const reasonSession = "session_route"

// begin makes the answer of a request, and its span where the policy asks for spans.
func (s *sidecar) begin(w http.ResponseWriter, r *http.Request) *answer {
	a := answers.Get().(*answer) //nolint:forcetypeassert // it holds nothing else
	a.ResponseWriter, a.request, a.current, a.began, a.rule = w, r, s.current.Load(), time.Now(), policy.NoRule
	if a.current != nil {
		a.origins = a.current.gate.Origins()
		if a.current.tracer != nil {
			a.span = a.current.tracer.Start(r, r.Method, tracing.Incoming(r.Header), a.began)
		}
	}
	return a
}

// end tells of an answer that is over: to the metrics, to the log and to the collector of spans.
func (s *sidecar) end(a *answer) {
	defer a.release()
	if a.request.ProtoMajor == 1 && a.exchange.answered.Load() {
		a.boundTaking()
	}
	now := time.Now()
	durations := s.metrics.allowedDuration
	if a.decision != "" && !a.audited {
		durations = s.metrics.refusedDuration
	}
	durations.Observe(now.Sub(a.began).Seconds())
	if s.writesLine(a) {
		s.lines.Write(a.line(now))
	}
	if a.span != nil {
		a.span.End(now, tracing.Outcome{Status: a.status, Attributes: []tracing.Attribute{
			{Key: "http.request.method", Value: beginning(a.request.Method, maxRecordedMethod)},
			{Key: "url.path", Value: beginning(a.path, maxRecordedPath)},
			{Key: "latchkey.reason", Value: a.reason},
			{Key: "latchkey.decision", Value: a.decision},
		}})
	}
}

func (s *sidecar) writesLine(a *answer) bool {
	which := bundle.AccessLogDenied
	if a.current != nil && a.current.accessLog != "" {
		which = a.current.accessLog
	}
	asked := which == bundle.AccessLogAll || which == bundle.AccessLogDenied && a.decision != ""
	return asked && s.log.Enabled(a.request.Context(), slog.LevelInfo)
}

// line is what the access log says of a request. It has no query, no header but Host, and no subject: whoever has to know who it was looks the decision up,
// as long as the pod remembers it.
func (a *answer) line(now time.Time) slog.Record {
	line := slog.NewRecord(now, slog.LevelInfo, "request", 0)
	line.AddAttrs(
		slog.String("method", beginning(a.request.Method, maxRecordedMethod)), slog.String("host", beginning(a.request.Host, maxRecordedPath)),
		slog.String("path", beginning(a.path, maxRecordedPath)), slog.Int("status", a.status), slog.Int64("bytes", a.bytes),
		slog.Float64("milliseconds", float64(now.Sub(a.began).Microseconds())/1000), slog.String("reason", a.reason), slog.String("peer", a.request.RemoteAddr),
	)
	if a.decision != "" {
		line.AddAttrs(slog.String("decision", a.decision), slog.Bool("audited", a.audited))
	}
	if a.rule != policy.NoRule {
		line.AddAttrs(slog.Int("rule", a.rule))
	}
	if a.token != "" {
		line.AddAttrs(slog.String("token", string(a.token)))
	}
	if a.caller != nil {
		line.AddAttrs(slog.String("issuer", a.caller.Issuer), slog.String("kid", a.caller.KeyID))
	}
	if trace := a.span.Context(tracing.Incoming(a.request.Header)).TraceIDText(); trace != "" {
		line.AddAttrs(slog.String("trace", trace))
	}
	return line
}
