package tracing

import (
	"encoding/binary"
	"math"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// Config says where spans go, and of how many requests.
type Config struct {
	// Endpoint is the base URL of a collector that takes OTLP over HTTP: spans are sent to /v1/traces below it.
	Endpoint string `json:"endpoint"`
	// SamplingPercent is how many of the traces that begin here are recorded, 0 to 100.
	SamplingPercent int32 `json:"samplingPercent"`
}

// Check leaves it to fail to say what is wrong, by the path of a field.
func (c Config) Check(fail func(path, problem string)) {
	u, err := url.Parse(c.Endpoint)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || strings.ContainsAny(c.Endpoint, "?#") {
		fail("endpoint", "must be an http or https URL with a host, and without user, query or fragment")
	}
	if c.SamplingPercent < 0 || c.SamplingPercent > 100 {
		fail("samplingPercent", "must be between 0 and 100")
	}
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

// Renew returns a tracer that does what is asked until Close: the last one, if it does already, or nil where nothing is asked. Spans are those of
// a service of this name, and of this machine. Dropped is called with how many of them could not be sent.
func Renew(last *Tracer, asked *Config, service string, dropped func(int)) *Tracer {
	switch {
	case asked == nil:
		return nil
	case last != nil && last.config == *asked:
		return last
	}
	instance, err := os.Hostname()
	if err != nil {
		instance = "unknown"
	}
	t := &Tracer{config: *asked, exporter: newExporter(asked.Endpoint, service, instance, dropped)}
	if share := float64(asked.SamplingPercent) / 100; share >= 1 {
		t.below = math.MaxUint64
	} else {
		t.below = uint64(share * (1 << 63) * 2)
	}
	return t
}

// Close sends what is waiting, for a second at most, and stops.
func (t *Tracer) Close() {
	if t != nil {
		t.exporter.close()
	}
}

// Start begins the span of a request, in the caller's trace or, where it has none, in a new one. Whether a caller's trace is recorded is the
// caller's word. The name is one of a few.
func (t *Tracer) Start(r *http.Request, name string, incoming Context, now time.Time) *Span {
	if t == nil {
		return nil
	}
	s := &Span{tracer: t, context: incoming, parent: incoming.SpanID, name: name, began: now}
	if incoming.Valid() {
		s.state = bounded(r.Header[stateHeader])
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

// Announce tells whoever gets these headers, beside the trace context that came in, that they are called from this span. A tracestate goes on only
// with the trace that it belongs to.
func (s *Span) Announce(header http.Header) {
	if s == nil {
		return
	}
	s.context.write(header)
	if s.state == "" {
		delete(header, stateHeader)
	} else {
		header[stateHeader] = []string{s.state}
	}
}

// End hands the span over to be sent.
func (s *Span) End(now time.Time, outcome Outcome) {
	if s != nil && s.context.Sampled {
		s.tracer.exporter.take(finished{s, now, outcome})
	}
}
