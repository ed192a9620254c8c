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

// Pass hands the trace context that came with a request on as it is, whatever it says, with no more tracestate than anybody has to take.
func Pass(from, to http.Header) {
	if values := from[parentHeader]; len(values) > 0 {
		to[parentHeader] = values
	}
	if state := bounded(from[stateHeader]); state != "" {
		to[stateHeader] = []string{state}
	}
}

// What of a tracestate everybody passes on (sections 3.3.1.1 and 3.3.1.5), in members and characters.
const (
	maxStateMembers = 32
	maxStateLength  = 512
	longStateMember = 128 // the first to go where there is too much
)

// bounded is the tracestate of these headers as one text, within the bounds: first the long members go, then those at the end, which are the oldest.
// Members go whole.
func bounded(values []string) string {
	if len(values) == 0 {
		return ""
	}
	state := strings.Join(values, ",")
	if len(state) <= maxStateLength && strings.Count(state, ",") < maxStateMembers {
		return state
	}
	var kept []string
	room := maxStateLength
	for member := range strings.SplitSeq(state, ",") {
		member = strings.Trim(member, " \t")
		if member == "" || len(member) > longStateMember {
			continue
		}
		if room -= len(member); room < 0 || len(kept) == maxStateMembers {
			break
		}
		room-- // the comma
		kept = append(kept, member)
	}
	return strings.Join(kept, ",")
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
