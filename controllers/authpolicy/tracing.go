package authpolicy

import (
	"k8s.io/utils/ptr"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/bundle"
)

// tracing is what a spec says about spans.
func tracing(spec v1alpha1.AuthPolicySpec) *bundle.Tracing {
	if spec.Tracing == nil {
		return nil
	}
	return &bundle.Tracing{Endpoint: spec.Tracing.Endpoint, SamplingPercent: ptr.Deref(spec.Tracing.SamplingPercent, 0)} // the API server fills in the default
}
