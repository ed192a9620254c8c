package bundle

import (
	"net/url"
	"strings"
)

// AccessLog says of which requests a sidecar writes a line.
type AccessLog string

const (
	// AccessLogOff is none.
	AccessLogOff AccessLog = "Off"
	// AccessLogDenied is those that it answers in the app's place. "" means the same.
	AccessLogDenied AccessLog = "Denied"
	// AccessLogAll is all of them.
	AccessLogAll AccessLog = "All"
)

// Tracing says where a sidecar sends spans.
type Tracing struct {
	// Endpoint is the base URL of a collector that takes OTLP over HTTP.
	Endpoint string `json:"endpoint"`
	// SamplingPercent is how many of the traces that begin at the sidecar are recorded.
	SamplingPercent int32 `json:"samplingPercent"`
}

// checkObservation checks both, and leaves it to fail to say what is wrong.
func (b *Bundle) checkObservation(fail func(path, problem string)) {
	switch b.AccessLog {
	case "", AccessLogOff, AccessLogDenied, AccessLogAll:
	default:
		fail("accessLog", "must be Off, Denied or All")
	}
	if b.Tracing == nil {
		return
	}
	if !isBaseURL(b.Tracing.Endpoint) {
		fail("tracing.endpoint", "must be an http or https URL with a host, and without user, query or fragment")
	}
	if b.Tracing.SamplingPercent < 0 || b.Tracing.SamplingPercent > 100 {
		fail("tracing.samplingPercent", "must be between 0 and 100")
	}
}

func isBaseURL(raw string) bool {
	u, err := url.Parse(raw)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "" && u.User == nil && !strings.ContainsAny(raw, "?#")
}
