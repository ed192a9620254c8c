package policyspec

import (
	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/credential"
	"github.com/latchkey-dev/latchkey/internal/crossorigin"
)

// TokenSources are a spec's, in the words of package credential.
func TokenSources(spec v1alpha1.AuthPolicySpec) []credential.Source {
	var sources []credential.Source
	for _, source := range spec.TokenSources {
		sources = append(sources, credential.Source(source))
	}
	return sources
}

// CORS is what a spec says about other origins, in the words of package crossorigin; nil for nothing.
func CORS(spec v1alpha1.AuthPolicySpec) *crossorigin.Document {
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
