package issuer

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/latchkey-dev/latchkey/internal/issuer/session"
)

// metrics of one token service, in a registry of its own. No label takes a value that a client chooses.
type metrics struct {
	registry  *prometheus.Registry
	requests  *prometheus.HistogramVec
	refreshes *prometheus.CounterVec
	ends      *prometheus.CounterVec
	moved     prometheus.Counter
	streams   prometheus.Gauge
	volumes   *prometheus.CounterVec
	rejected  *prometheus.GaugeVec
	spans     prometheus.Counter
}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "latchkey_issuer_request_duration_seconds",
			Help:    "Time to answer, by route and result: ok, or the reason of the refusal.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
		}, []string{"route", "result"}),
		refreshes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "latchkey_issuer_refreshes_total",
			Help: "Refreshes that succeeded: rotate made a successor, repeat handed out the same successor again to a parallel or repeated request.",
		}, []string{"verdict"}),
		ends: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "latchkey_issuer_sessions_ended_total",
			Help: "Sessions that were ended, by why. reuse is a refresh token that came back after it was replaced: suspect a theft.",
		}, []string{"why"}),
		moved: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "latchkey_issuer_network_changes_total",
			Help: "Refreshes from another network than before that were let pass, as ipBinding: Log has it.",
		}),
		streams: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "latchkey_issuer_revocation_streams",
			Help: "Sidecars that follow the revocation stream now.",
		}),
		volumes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "latchkey_issuer_volume_loads_total",
			Help: "Times that a mounted volume was read, by result: applied or rejected.",
		}, []string{"volume", "result"}),
		rejected: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "latchkey_issuer_volume_rejected",
			Help: "1 while what a volume holds is not in force because it is faulty.",
		}, []string{"volume"}),
	}
	m.spans = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "latchkey_issuer_spans_dropped_total",
		Help: "Spans that the collector did not take in time.",
	})
	m.registry.MustRegister(m.spans, m.requests, m.refreshes, m.ends, m.moved, m.streams, m.volumes, m.rejected,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, why := range []string{endedByLogout, endedByRevoke, endedByLimit, endedByReuse, endedByIdle, endedByAge,
		endedByNetwork, endedByRemoval, endedByPassword, endedByUser, endedByBackend} {
		m.ends.WithLabelValues(why) // there from the start, so that the first theft is an increase
	}
	return m
}

// follows adds the number of the last revocation, which sidecars are compared with.
func (m *metrics) follows(j *journal) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "latchkey_issuer_revocation_number",
		Help: "Number of the last revocation. A sidecar whose own number stays behind does not enforce the latest.",
	}, func() float64 { return float64(j.since(0).newest) }))
}

func (m *metrics) answered(route, result string, took time.Duration) {
	m.requests.WithLabelValues(route, result).Observe(took.Seconds())
}

func (m *metrics) refreshed(v session.Verdict) { m.refreshes.WithLabelValues(string(v)).Inc() }

func (m *metrics) ended(why string) { m.ends.WithLabelValues(why).Inc() }

func (m *metrics) volumeApplied(name string) {
	m.volumes.WithLabelValues(name, "applied").Inc()
	m.rejected.WithLabelValues(name).Set(0)
}

func (m *metrics) volumeRejected(name string) {
	m.volumes.WithLabelValues(name, "rejected").Inc()
	m.rejected.WithLabelValues(name).Set(1)
}
