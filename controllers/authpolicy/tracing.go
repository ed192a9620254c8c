package authpolicy

import (
	"k8s.io/utils/ptr"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/tracing"
)

// tracing is what a spec says about spans.
func spans(spec v1alpha1.AuthPolicySpec) *tracing.Config {
	if spec.Tracing == nil {
		return nil
	}
	return &tracing.Config{Endpoint: spec.Tracing.Endpoint, SamplingPercent: ptr.Deref(spec.Tracing.SamplingPercent, 0)} // the API server fills in the default
}
