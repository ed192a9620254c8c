package foreign

import (
	"net/url"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/latchkey-dev/latchkey/internal/jwksource"
)

var (
	fetches = promauto.With(metrics.Registry).NewCounterVec(prometheus.CounterOpts{
		Name: "latchkey_foreign_fetches_total",
		Help: "Fetches of foreign issuers' key sets by outcome: fetched, not_modified, or how it failed: address, connect, tls, timeout, status or document.",
	}, []string{"outcome"})
	lastSuccess = promauto.With(metrics.Registry).NewGaugeVec(prometheus.GaugeOpts{
		Name: "latchkey_foreign_last_success_timestamp_seconds",
		Help: "When a foreign issuer's key set was last fetched or said to be unchanged, as a Unix time; 0: never by this process.",
	}, []string{"url"})
)

// label names a source in metrics: without its query, which may hold what is not for everybody.
func label(source jwksource.Source) string {
	u, err := url.Parse(source.URL())
	if err != nil {
		return ""
	}
	return "https://" + u.Host + u.EscapedPath()
}

func observe(source jwksource.Source, state jwksource.State) {
	outcome := "fetched"
	switch {
	case state.Failure != nil:
		outcome = jwksource.Outcome(state.Failure)
	case state.Fetched.NotModified:
		outcome = "not_modified"
	}
	fetches.WithLabelValues(outcome).Inc()
	observeAge(source, state.At)
}

func observeAge(source jwksource.Source, at time.Time) {
	seconds := 0.0
	if !at.IsZero() {
		seconds = float64(at.Unix())
	}
	lastSuccess.WithLabelValues(label(source)).Set(seconds)
}

func forget(source jwksource.Source) { lastSuccess.DeleteLabelValues(label(source)) }
