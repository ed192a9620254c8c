package tracing

import (
	"encoding/hex"
	"math/rand/v2"
	"net/http"
	"strings"
)

// The headers of a trace context, as net/http spells them (W3C Trace Context, level 1).
const (
	parentHeader = "Traceparent"
	stateHeader  = "Tracestate"
)

// Context is where in a trace a request stands. The zero Context is in none.
type Context struct {
	TraceID [16]byte
	SpanID  [8]byte
	Sampled bool // somebody before us wants it recorded
}

// Valid says whether there is a trace.
func (c Context) Valid() bool { return c.TraceID != [16]byte{} && c.SpanID != [8]byte{} }

// TraceIDText is the trace's id in hexadecimal, or "".
func (c Context) TraceIDText() string {
	if !c.Valid() {
		return ""
	}
	return hex.EncodeToString(c.TraceID[:])
}

// Incoming reads the trace context that came with a request. One that is malformed, or there twice, is none (section 3.2.2).
func Incoming(header http.Header) Context {
	values := header[parentHeader]
	if len(values) != 1 {
		return Context{}
	}
	// version "-" trace-id "-" parent-id "-" flags; versions to come may append to it.
	text := values[0]
	const length = 2 + 1 + 32 + 1 + 16 + 1 + 2
	if len(text) < length || text[2] != '-' || text[35] != '-' || text[52] != '-' || text[:2] == "ff" {
		return Context{}
	}
	if len(text) > length && (text[:2] == "00" || text[length] != '-') {
		return Context{}
	}
	var c Context
	var version, flags [1]byte
	for _, part := range []struct {
		into []byte
		text string
	}{{version[:], text[:2]}, {c.TraceID[:], text[3:35]}, {c.SpanID[:], text[36:52]}, {flags[:], text[53:55]}} {
		if _, err := hex.Decode(part.into, []byte(part.text)); err != nil || strings.ToLower(part.text) != part.text {
			return Context{}
		}
	}
	if !c.Valid() {
		return Context{}
	}
	c.Sampled = flags[0]&1 != 0
	return c
}

// Pass hands the trace context that came with a request on as it is, whatever it says.
func Pass(from, to http.Header) {
	for _, name := range []string{parentHeader, stateHeader} {
		if values := from[name]; len(values) > 0 {
			to[name] = values
		}
	}
}

// write puts the context into the headers of a request.
func (c Context) write(header http.Header) {
	flags := "-00"
	if c.Sampled {
		flags = "-01"
	}
	header[parentHeader] = []string{"00-" + hex.EncodeToString(c.TraceID[:]) + "-" + hex.EncodeToString(c.SpanID[:]) + flags}
}

// fill makes an id. Ids name things to people and decide nothing.
func fill(id []byte) {
	for i := range id {
		id[i] = byte(rand.Uint32()) //nolint:gosec // see above
	}
}
