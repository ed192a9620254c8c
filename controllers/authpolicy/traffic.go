package authpolicy

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/bundle"
)

// revocationBound is the default of revocation.after.
const revocationBound = time.Minute

// traffic fills in what a spec says about connections. What is not set stays so: the sidecar has the defaults.
func traffic(b *bundle.Bundle, spec v1alpha1.AuthPolicySpec) {
	b.Upstream = bundle.Upstream{
		Protocol:        bundle.Protocol(spec.Upstream.Protocol),
		ConnectTimeout:  orZero(spec.Upstream.ConnectTimeout),
		ResponseTimeout: orZero(spec.Upstream.ResponseTimeout),
	}
	if tls := spec.Upstream.TLS; tls != nil {
		b.Upstream.ServerName, b.Upstream.CA = tls.ServerName, tls.CertificateAuthority
	}
	b.Limits = bundle.Limits{
		MaxConnections:          spec.Limits.MaxConnections,
		MaxConnectionsPerClient: spec.Limits.MaxConnectionsPerClient,
		MaxRequests:             spec.Limits.MaxRequests,
		MaxStreamsPerConnection: spec.Limits.MaxStreamsPerConnection,
		MaxHeaderBytes:          spec.Limits.MaxHeaderBytes,
		MaxBodyBytes:            spec.Limits.MaxBodyBytes,
		HeaderTimeout:           orZero(spec.Limits.HeaderTimeout),
		StallTimeout:            orZero(spec.Limits.StallTimeout),
		IdleTimeout:             orZero(spec.Limits.IdleTimeout),
	}
	if spec.Revocation.OnLoss == v1alpha1.LossDeny {
		b.RevocationBound = ptr.Deref(spec.Revocation.After, metav1.Duration{Duration: revocationBound}).Duration
	}
}

func orZero(d *metav1.Duration) time.Duration { return ptr.Deref(d, metav1.Duration{}).Duration }
