package authpolicy_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/bundle"
	"github.com/latchkey-dev/latchkey/internal/credential"
	"github.com/latchkey-dev/latchkey/internal/crossorigin"
	"github.com/latchkey-dev/latchkey/internal/tracing"
)

func TestWhatASpecSaysAboutRequestsReachesTheBundle(t *testing.T) {
	b := newBench(t)
	b.signingKey("key", keySet(t, "ES256"))
	wanted := spec("a", v1alpha1.KeySource{SigningKeyRef: &v1alpha1.SigningKeyRef{Name: "key"}})
	wanted.TokenSources = []v1alpha1.TokenSource{{Cookie: "token"}, {Query: "token"}}
	wanted.CORS = &v1alpha1.CORS{
		AllowOrigins: []string{"https://shop.example"}, AllowMethods: []string{"PUT"}, AllowHeaders: []string{"Authorization"}, ExposeHeaders: []string{"X-Total"},
		AllowCredentials: true, MaxAge: &metav1.Duration{Duration: time.Hour},
	}
	wanted.AccessLog, wanted.Tracing = v1alpha1.AccessLogAll, &v1alpha1.Tracing{Endpoint: "http://collector:4318"}
	b.applied("p", wanted)
	b.reconcile("p")
	got := b.bundle("p")
	if diff := cmp.Diff(got.TokenSources, []credential.Source{{Cookie: "token"}, {Query: "token"}}); diff != "" {
		t.Errorf("got -, want + of the token sources:\n%s", diff)
	}
	if diff := cmp.Diff(got.CORS, &crossorigin.Document{
		AllowOrigins: []string{"https://shop.example"}, AllowMethods: []string{"PUT"}, AllowHeaders: []string{"Authorization"}, ExposeHeaders: []string{"X-Total"},
		AllowCredentials: true, MaxAgeSeconds: 3600,
	}); diff != "" {
		t.Errorf("got -, want + of other origins:\n%s", diff)
	}
	if got.AccessLog != bundle.AccessLogAll || cmp.Diff(got.Tracing, &tracing.Config{Endpoint: "http://collector:4318", SamplingPercent: 10}) != "" {
		t.Errorf("got access log %q and tracing %v, want All, and a tenth to the collector", got.AccessLog, got.Tracing)
	}
	if got, want := b.message("p", "WarningFree"), "tokenSources[1].query: proxies and browsers write URLs down, and so tokens"; got != want {
		t.Errorf("got message %q, want %q", got, want)
	}
}
