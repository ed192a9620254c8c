package signingkey

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
)

var (
	transitions = promauto.With(metrics.Registry).NewCounterVec(prometheus.CounterOpts{
		Name: "latchkey_signingkey_transitions_total",
		Help: "Keys that changed their role, by the event that tells of it.",
	}, []string{"event"})
	readiness = promauto.With(metrics.Registry).NewGaugeVec(prometheus.GaugeOpts{
		Name: "latchkey_signingkey_ready",
		Help: "1 while the SigningKey is Ready, 0 while it is not.",
	}, []string{"namespace", "name"})
)

func observeReady(key types.NamespacedName, ready bool) {
	value := 0.0
	if ready {
		value = 1
	}
	readiness.WithLabelValues(key.Namespace, key.Name).Set(value)
}

func forget(key types.NamespacedName) { readiness.DeleteLabelValues(key.Namespace, key.Name) }
