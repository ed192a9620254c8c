package authpolicy

import (
	"fmt"

	"k8s.io/utils/ptr"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/bundle"
	"github.com/latchkey-dev/latchkey/internal/credential"
	"github.com/latchkey-dev/latchkey/internal/crossorigin"
	"github.com/latchkey-dev/latchkey/internal/policy"
)

// tokenSources are a spec's, in the words of package credential.
func tokenSources(spec v1alpha1.AuthPolicySpec) []credential.Source {
	var sources []credential.Source
	for _, source := range spec.TokenSources {
		sources = append(sources, credential.Source(source))
	}
	return sources
}

// otherOrigins is what a spec says about them, in the words of package crossorigin.
func otherOrigins(spec v1alpha1.AuthPolicySpec) *crossorigin.Document {
	if spec.CORS == nil {
		return nil
	}
	d := &crossorigin.Document{
		AllowOrigins: spec.CORS.AllowOrigins, AllowMethods: spec.CORS.AllowMethods, AllowHeaders: spec.CORS.AllowHeaders,
		ExposeHeaders: spec.CORS.ExposeHeaders, AllowCredentials: spec.CORS.AllowCredentials,
	}
	if spec.CORS.MaxAge != nil {
		d.MaxAgeSeconds = int64(spec.CORS.MaxAge.Seconds())
	}
	return d
}

// tracing is what a spec says about spans.
func tracing(spec v1alpha1.AuthPolicySpec) *bundle.Tracing {
	if spec.Tracing == nil {
		return nil
	}
	return &bundle.Tracing{Endpoint: spec.Tracing.Endpoint, SamplingPercent: ptr.Deref(spec.Tracing.SamplingPercent, 0)} // the API server fills in the default
}

// loggedTokens warns of tokens in URLs, which an accepted policy may ask for all the same.
func loggedTokens(spec v1alpha1.AuthPolicySpec) []policy.Warning {
	var warnings []policy.Warning
	for i, source := range spec.TokenSources {
		if source.Query != "" {
			warnings = append(warnings, policy.Warning{
				Path: fmt.Sprintf("tokenSources[%d].query", i), Reason: v1alpha1.ReasonTokensInURLs, Message: "proxies and browsers write URLs down, and so tokens",
			})
		}
	}
	return warnings
}
