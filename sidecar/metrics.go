package sidecar

import (
	"maps"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/latchkey-dev/latchkey/sidecar/tokenservice"
)

// metrics counts what the sidecar does, in a registry of its own. No label takes a value that a caller chooses.
type metrics struct {
	registry  *prometheus.Registry
	allowed   *tally                 // by reason
	refused   *prometheus.CounterVec // by status and reason
	audited   *prometheus.CounterVec // by status and reason
	ended     *prometheus.CounterVec // by reason
	turned    *prometheus.CounterVec // by limit
	tokens    *tally                 // by result
	bundles   *prometheus.CounterVec // by result
	appliedAt prometheus.Gauge
	rejected  prometheus.Gauge
	unwarmed  prometheus.Gauge

	routeLocalnet prometheus.Gauge
	refetches     *prometheus.CounterVec // by outcome
	renewals      *prometheus.CounterVec // by outcome

	judging         prometheus.Histogram
	allowedDuration prometheus.Observer
	refusedDuration prometheus.Observer
	linesDropped    prometheus.Counter
	spansDropped    prometheus.Counter
}

// newMetrics makes them. Applied returns the hash of the bundle in force.
func newMetrics(flight *flight, lobby *lobby, follower *tokenservice.Follower, applied func() string) *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "latchkey_sidecar_" + name, Help: help}, labels)
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: "latchkey_sidecar_" + name, Help: help})
	}
	m := &metrics{
		registry: prometheus.NewRegistry(),
		allowed:  &tally{CounterVec: counter("requests_allowed_total", "Requests that went on to the app, by the reason why.", "reason")},
		refused:  counter("requests_refused_total", "Requests that were answered in the app's place, by status and reason.", "status", "reason"),
		audited: counter("requests_audited_total",
			"Requests that went on to the app because the policy only audits, by the status and reason that would have refused them.", "status", "reason"),
		ended: counter("exchanges_ended_total",
			"Requests that went on to the app and were ended by the sidecar before their answer had ended, by reason.", "reason"),
		turned: counter("connections_refused_total", "Connections that were closed at once, by the limit that they would have exceeded.", "limit"),
		tokens: &tally{CounterVec: counter("tokens_total",
			"Requests by what became of their bearer token: none, cached (verified before), verified (just now) or refused.", "result")},
		bundles:   counter("bundle_loads_total", "Versions of the bundle seen: applied or rejected.", "result"),
		appliedAt: gauge("bundle_applied_timestamp_seconds", "When the bundle in force came into force; 0 while there is none."),
		rejected:  gauge("bundle_rejected", "1 while the newest version of the bundle is broken and an older one, or none, is in force."),
		refetches: counter("key_refetches_total",
			"Requests to foreign issuers for a key that a token named and nobody knew, by outcome: fetched, or how it failed.", "outcome"),
		renewals: counter("session_renewals_total",
			"Requests of server-rendered apps whose session was to be renewed on the way in, by outcome: renewed, ended or unavailable.", "outcome"),
		unwarmed: gauge("ready_without_revocations",
			"1 when this process became ready although a token service had not sent its revocations yet, else 0."),
		routeLocalnet: gauge("loopback_routed",
			"1 where the pod's kernel takes packets for 127.0.0.1 from its link, so that neighbours on it can reach the app past the sidecar, else 0."),
	}
	durations := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "latchkey_sidecar_request_duration_seconds", Help: "How long requests took from their headers to the end of their answer, by outcome: allowed or refused.",
		Buckets: []float64{0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10, 60},
	}, []string{"outcome"})
	m.allowedDuration, m.refusedDuration = durations.WithLabelValues("allowed"), durations.WithLabelValues("refused")
	m.judging = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "latchkey_sidecar_judging_duration_seconds", Help: "How long it took to verify tokens and to decide.",
		Buckets: []float64{5e-6, 2e-5, 1e-4, 5e-4, 2.5e-3, 1e-2, 1e-1},
	})
	m.linesDropped = counter("log_lines_dropped_total", "Lines of the access log that whoever reads it was too slow for.").WithLabelValues()
	m.spansDropped = counter("spans_dropped_total", "Spans that the collector did not take in time.").WithLabelValues()
	m.registry.MustRegister(
		durations, m.judging, m.linesDropped, m.spansDropped, bundleCollector(applied),
		m.allowed, m.refused, m.audited, m.ended, m.turned, m.tokens, m.bundles, m.appliedAt, m.rejected, m.unwarmed, m.refetches, m.renewals, m.routeLocalnet,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "latchkey_sidecar_requests_in_flight", Help: "Requests that are being answered, streams included.",
		}, func() float64 { return float64(flight.n.Load()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "latchkey_sidecar_connections", Help: "Connections of callers that are open, WebSockets included.",
		}, func() float64 { return float64(lobby.open.n.Load()) }),
		streamCollector{follower},
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return m
}

// tally counts by one label of few values. It looks each up once: what every request counts must not cost a search.
type tally struct {
	*prometheus.CounterVec
	found atomic.Pointer[map[string]prometheus.Counter] // never changes but whole
}

func (t *tally) count(value string) {
	if found := t.found.Load(); found != nil {
		if counter, ok := (*found)[value]; ok {
			counter.Inc()
			return
		}
	}
	counter := t.WithLabelValues(value)
	counter.Inc()
	more := map[string]prometheus.Counter{value: counter}
	if found := t.found.Load(); found != nil {
		maps.Copy(more, *found)
	}
	t.found.Store(&more) // what another goroutine has just found is found again
}

// streamCollector reads the revocation streams when it is asked. Issuers are those that the bundle names, 32 at most.
type streamCollector struct{ follower *tokenservice.Follower }

var (
	streamConnected = prometheus.NewDesc("latchkey_sidecar_revocation_stream_connected",
		"1 while the revocation stream of the issuer's token service is followed, else 0.", []string{"issuer"}, nil)
	streamNumber = prometheus.NewDesc("latchkey_sidecar_revocation_number",
		"Number of the last revocation applied.", []string{"issuer"}, nil)
	streamConfirmed = prometheus.NewDesc("latchkey_sidecar_revocations_confirmed_timestamp_seconds",
		"When all revocations of the issuer's token service were last known to be here; 0: never.", []string{"issuer"}, nil)
	streamEntries = prometheus.NewDesc("latchkey_sidecar_revocations",
		"Revocations in force.", []string{"issuer"}, nil)
)

func (streamCollector) Describe(to chan<- *prometheus.Desc) {
	to <- streamConnected
	to <- streamNumber
	to <- streamEntries
	to <- streamConfirmed
}

func (c streamCollector) Collect(to chan<- prometheus.Metric) {
	for _, state := range c.follower.State() {
		connected := 0.0
		if state.Connected {
			connected = 1
		}
		to <- prometheus.MustNewConstMetric(streamConnected, prometheus.GaugeValue, connected, state.Issuer)
		to <- prometheus.MustNewConstMetric(streamNumber, prometheus.GaugeValue, float64(state.Number), state.Issuer)
		to <- prometheus.MustNewConstMetric(streamEntries, prometheus.GaugeValue, float64(state.Entries), state.Issuer)
		confirmed := 0.0
		if !state.Confirmed.IsZero() {
			confirmed = float64(state.Confirmed.UnixMilli()) / 1000
		}
		to <- prometheus.MustNewConstMetric(streamConfirmed, prometheus.GaugeValue, confirmed, state.Issuer)
	}
}

// bundleCollector names the bundle in force. There is one at a time, and so one value of the label.
type bundleCollector func() (hash string)

var bundleInfo = prometheus.NewDesc("latchkey_sidecar_bundle_info",
	"1, by the revision in force, as status.revision of the AuthPolicy has it.", []string{"revision"}, nil)

func (bundleCollector) Describe(to chan<- *prometheus.Desc) { to <- bundleInfo }

func (c bundleCollector) Collect(to chan<- prometheus.Metric) {
	const length = 12 // of status.revision
	if hash := c(); hash != "" {
		to <- prometheus.MustNewConstMetric(bundleInfo, prometheus.GaugeValue, 1, hash[:min(length, len(hash))])
	}
}
