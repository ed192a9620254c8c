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
	asked     *prometheus.HistogramVec
	stored    *prometheus.GaugeVec
	signIns   *prometheus.CounterVec
	throttles *prometheus.CounterVec
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
		asked: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "latchkey_issuer_store_operation_duration_seconds",
			Help:    "Time that the session store took, by operation and result: ok, error, or canceled where the client had gone.",
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
		}, []string{"operation", "result"}),
		stored: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "latchkey_issuer_sessions",
			Help: "Sessions in the store, counted once a minute; of thousands an estimate. The same for all replicas.",
		}, nil), // not there until they have been counted
		signIns: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "latchkey_issuer_sign_ins_total",
			Help: "Attempts to sign in, by way (password, backend) and outcome: success, or the reason of the refusal.",
		}, []string{"way", "outcome"}),
		throttles: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "latchkey_issuer_sign_ins_throttled_total",
			Help: "Sign-ins that were sent away unseen, by what there were too many wrong guesses of.",
		}, []string{"bound"}),
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
	m.registry.MustRegister(m.spans, m.requests, m.asked, m.stored, m.signIns, m.throttles, m.refreshes, m.ends, m.moved, m.streams, m.volumes, m.rejected,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, why := range []string{endedByLogout, endedByRevoke, endedByLimit, endedByReuse, endedByIdle, endedByAge,
		endedByNetwork, endedByRemoval, endedByPassword, endedByUser, endedByBackend, endedBySignIn} {
		m.ends.WithLabelValues(why) // there from the start, so that the first theft is an increase
	}
	for _, outcome := range []string{string(success), string(ReasonInvalidCredentials), string(ReasonThrottled), string(ReasonBusy),
		string(ReasonSessionLimit), string(ReasonLoginUnavailable), string(ReasonUnavailable)} {
		m.signIns.WithLabelValues(byPassword, outcome)
	}
	for _, bound := range []bound{boundDevice, boundName, boundNetwork} {
		m.throttles.WithLabelValues(bound.of)
	}
	return m
}

// Ways to sign in.
const (
	byPassword = "password" // of users.yaml, or by the webhook
	byBackend  = "backend"
)

// signIn counts an attempt, which err has come of.
func (m *metrics) signIn(way string, err error) {
	outcome := string(success)
	if err != nil {
		outcome = string(reasonOf(err))
	}
	m.signIns.WithLabelValues(way, outcome).Inc()
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
