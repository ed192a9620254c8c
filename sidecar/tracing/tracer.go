package tracing

import (
	"encoding/binary"
	"math"
	"net/http"
	"time"
)

// Config says where spans go, and of how many requests.
type Config struct {
	// Endpoint is the base URL of a collector that takes OTLP over HTTP: spans are sent to /v1/traces below it.
	Endpoint string
	// SamplingPercent is how many of the traces that begin here are recorded, 0 to 100.
	SamplingPercent float64
}

// Tracer records requests. A nil Tracer records none, and leaves trace contexts as they are.
type Tracer struct {
	config   Config
	below    uint64 // a trace that begins here is recorded if its number is
	exporter *exporter
}

// Attribute says something about a span.
type Attribute struct {
	Key   string
	Value any // a string or an int64
}

// Span is one request on its way through. A nil Span is none.
type Span struct {
	tracer  *Tracer
	context Context
	parent  [8]byte // zero: none
	state   string
	name    string
	began   time.Time
}

// Outcome is what became of a request.
type Outcome struct {
	Status     int // that was answered; 0: the connection broke
	Attributes []Attribute
}

// New returns a tracer that sends until Close. Dropped is called with how many spans could not be sent.
func New(config Config, instance string, dropped func(int)) *Tracer {
	t := &Tracer{config: config, exporter: newExporter(config.Endpoint, instance, dropped)}
	if share := config.SamplingPercent / 100; share >= 1 {
		t.below = math.MaxUint64
	} else {
		t.below = uint64(share * (1 << 63) * 2)
	}
	return t
}

// Config is what the tracer was made from.
func (t *Tracer) Config() Config { return t.config }

// Close sends what is waiting, for a second at most, and stops.
func (t *Tracer) Close() {
	if t != nil {
		t.exporter.close()
	}
}

// Start begins the span of a request, in the caller's trace or, where it has none, in a new one. Whether a caller's trace is recorded is the
// caller's word.
func (t *Tracer) Start(r *http.Request, incoming Context, now time.Time) *Span {
	if t == nil {
		return nil
	}
	s := &Span{tracer: t, context: incoming, parent: incoming.SpanID, name: r.Method, began: now}
	if incoming.Valid() {
		for _, state := range r.Header[stateHeader] {
			s.state = state
		}
	} else {
		fill(s.context.TraceID[:])
		number := binary.BigEndian.Uint64(s.context.TraceID[8:])
		s.context.Sampled = number < t.below || t.below == math.MaxUint64
	}
	fill(s.context.SpanID[:])
	return s
}

// Context is the span's own; without a span, the one that came in.
func (s *Span) Context(incoming Context) Context {
	if s == nil {
		return incoming
	}
	return s.context
}

// Announce tells the app that it is called from this span. A tracestate goes on only with the trace that it belongs to.
func (s *Span) Announce(header http.Header) {
	if s == nil {
		return
	}
	s.context.write(header)
	if s.parent == [8]byte{} {
		delete(header, stateHeader)
	}
}

// End hands the span over to be sent.
func (s *Span) End(now time.Time, outcome Outcome) {
	if s != nil && s.context.Sampled {
		s.tracer.exporter.take(finished{s, now, outcome})
	}
}
