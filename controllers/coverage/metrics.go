package coverage

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
)

var bare = promauto.With(metrics.Registry).NewGaugeVec(prometheus.GaugeOpts{
	Name: "latchkey_coverage_pods_without_sidecar",
	Help: "Pods of a namespace that ask for the sidecar and run without it, whether a policy selects them or not. Namespaces without any are not there.",
}, []string{"namespace"})

func count(found map[string][]metav1.ObjectMeta) {
	bare.Reset()
	for namespace, pods := range found {
		bare.WithLabelValues(namespace).Set(float64(len(pods)))
	}
}
