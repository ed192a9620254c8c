package distribution

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
)

var (
	pokes = promauto.With(metrics.Registry).NewCounter(prometheus.CounterOpts{
		Name: "latchkey_distribution_pokes_total",
		Help: "Pod annotation patches sent to make a kubelet refresh a pod's volumes.",
	})
	rejected = promauto.With(metrics.Registry).NewCounter(prometheus.CounterOpts{
		Name: "latchkey_distribution_rejected_total",
		Help: "Files that a pod has rejected, counted once for each pod, volume and content. An event on the pod has the reason.",
	})
)
