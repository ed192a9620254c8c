package signingkey

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/rotation"
)

var (
	transitions = promauto.With(metrics.Registry).NewCounterVec(prometheus.CounterOpts{
		Name: "latchkey_signingkey_transitions_total",
		Help: "Keys that changed their role, by the event that tells of it.",
	}, []string{"event"})
	failures = promauto.With(metrics.Registry).NewCounterVec(prometheus.CounterOpts{
		Name: "latchkey_signingkey_failures_total",
		Help: "Attempts to keep a ring that failed, by the reason in Ready, or Error where another attempt follows at once.",
	}, []string{"reason"})
	readiness = promauto.With(metrics.Registry).NewGaugeVec(prometheus.GaugeOpts{
		Name: "latchkey_signingkey_ready",
		Help: "1 while the SigningKey is Ready, 0 while it is not.",
	}, []string{"namespace", "name"})
	keys = promauto.With(metrics.Registry).NewGaugeVec(prometheus.GaugeOpts{
		Name: "latchkey_signingkey_keys",
		Help: "Keys of the ring, by phase.",
	}, []string{"namespace", "name", "phase"})
	activeSince = promauto.With(metrics.Registry).NewGaugeVec(prometheus.GaugeOpts{
		Name: "latchkey_signingkey_active_since_timestamp_seconds",
		Help: "When the key that signs began to, as a Unix time. Its age is time() minus this.",
	}, []string{"namespace", "name"})
	nextRotation = promauto.With(metrics.Registry).NewGaugeVec(prometheus.GaugeOpts{
		Name: "latchkey_signingkey_next_rotation_timestamp_seconds",
		Help: "When the next key is due to sign, as a Unix time. It is in the past while that key waits to be acknowledged.",
	}, []string{"namespace", "name"})
	acknowledged = promauto.With(metrics.Registry).NewHistogram(prometheus.HistogramOpts{
		Name: "latchkey_signingkey_acknowledgement_seconds",
		Help: "How long a key that was due waited until every ready pod that depends on it had reported it. " +
			"Keys that went ahead without that are counted as transitions, by the event KeyActivatedUnacknowledged.",
		Buckets: []float64{0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60, 120, 300, 600, 1800},
	})
)

// observeRing counts what is stored. The numbers of a SigningKey whose Secret cannot be read stay as they were; it is not Ready.
func observeRing(key *v1alpha1.SigningKey, ring rotation.Ring) {
	count := map[rotation.Phase]float64{rotation.Pending: 0, rotation.Active: 0, rotation.Retiring: 0}
	for _, k := range ring {
		count[k.Phase]++
	}
	for phase, n := range count {
		keys.WithLabelValues(key.Namespace, key.Name, string(phase)).Set(n)
	}
	if active, ok := ring.Active(); ok {
		activeSince.WithLabelValues(key.Namespace, key.Name).Set(seconds(active.ActivatedAt))
		nextRotation.WithLabelValues(key.Namespace, key.Name).Set(seconds(schedule(key.Spec).NextRotation(ring)))
	}
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

func observeReady(key types.NamespacedName, ready bool) {
	value := 0.0
	if ready {
		value = 1
	}
	readiness.WithLabelValues(key.Namespace, key.Name).Set(value)
}

func forget(key types.NamespacedName) {
	labels := prometheus.Labels{"namespace": key.Namespace, "name": key.Name}
	for _, metric := range []*prometheus.GaugeVec{readiness, keys, activeSince, nextRotation} {
		metric.DeletePartialMatch(labels)
	}
}
