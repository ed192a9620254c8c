package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/webhook"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/controllers"
	"github.com/latchkey-dev/latchkey/internal/inject"
	"github.com/latchkey-dev/latchkey/internal/inject/serving"
	"github.com/latchkey-dev/latchkey/internal/pki"
	"github.com/latchkey-dev/latchkey/internal/profile"
)

const (
	// webhookService and leaseName are named in config/manager and config/rbac as well.
	webhookService = "latchkey-webhook"
	leaseName      = "latchkey-manager"
	// drainTime is less than the Deployment's terminationGracePeriodSeconds.
	drainTime = 15 * time.Second
)

// manage runs until ctx ends: first the certificate authority, which everything that speaks TLS needs, then the rest together.
func manage(ctx context.Context, config *rest.Config, o options) error {
	config.QPS = -1 // the API server rations requests itself, and fairly

	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return err
	}
	direct, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return err
	}
	ca, err := serving.Authority(ctx, direct, o.namespace, time.Now())
	if err != nil {
		return err
	}
	mgr, err := newManager(config, scheme, ca, o)
	if err != nil {
		return err
	}
	if err := errors.Join(
		inject.Setup(ctx, mgr, inject.Options{SidecarImage: o.sidecarImage}),
		serving.Setup(mgr, ca),
		controllers.Setup(mgr, controllers.Options{CA: ca, IssuerImage: o.issuerImage, SidecarImage: o.sidecarImage, Namespace: o.namespace}),
		addChecks(mgr),
		mgr.Add(onEveryReplica(func(ctx context.Context) error {
			return serving.Watch(ctx, direct, o.namespace, ca, clock.RealClock{})
		})),
		addProfiles(mgr, o.profileAddress),
	); err != nil {
		return err
	}
	return mgr.Start(ctx)
}

func newManager(config *rest.Config, scheme *runtime.Scheme, ca *pki.CA, o options) (ctrl.Manager, error) {
	certificate, err := serving.NewCertificate(ca, webhookService, o.namespace, clock.RealClock{})
	if err != nil {
		return nil, err
	}
	cacheOptions := controllers.Cache()
	cacheOptions.ByObject[&admissionregistrationv1.MutatingWebhookConfiguration{}] = serving.Cache()

	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme: scheme,
		Cache:  cacheOptions,
		Client: controllers.Client(),
		WebhookServer: webhook.NewServer(webhook.Options{
			Host: o.webhookHost,
			Port: o.webhookPort,
			TLSOpts: []func(*tls.Config){func(t *tls.Config) {
				t.MinVersion = tls.VersionTLS13
				t.GetCertificate = certificate.Get
			}},
		}),
		HealthProbeBindAddress:        o.healthAddress,
		Metrics:                       server.Options{BindAddress: o.metricsAddress},
		LeaderElection:                o.leaderElect,
		LeaderElectionID:              leaseName,
		LeaderElectionNamespace:       o.namespace,
		LeaderElectionReleaseOnCancel: true, // the process ends right after, so the next leader need not wait for the lease
		GracefulShutdownTimeout:       ptr.To(drainTime),
	})
	if err != nil {
		return nil, fmt.Errorf("make the manager: %w", err)
	}
	return mgr, nil
}

// addChecks serves /healthz (the process answers) and /readyz (it has seen the cluster's objects, and the webhook takes connections).
func addChecks(mgr ctrl.Manager) error {
	var synced atomic.Bool
	return errors.Join(
		mgr.Add(onEveryReplica(func(ctx context.Context) error {
			synced.Store(true) // such runnables are started once the caches are filled
			<-ctx.Done()
			return nil
		})),
		mgr.AddHealthzCheck("process", healthz.Ping),
		mgr.AddReadyzCheck("cache", func(*http.Request) error {
			if !synced.Load() {
				return errors.New("the objects of the cluster are still being read")
			}
			return nil
		}),
		mgr.AddReadyzCheck("webhook", mgr.GetWebhookServer().StartedChecker()),
	)
}

// addProfiles serves profiles of this process, where there is an address for them.
func addProfiles(mgr ctrl.Manager, address netip.AddrPort) error {
	if !address.IsValid() {
		profile.Forgo()
		return nil
	}
	return mgr.Add(onEveryReplica(func(ctx context.Context) error { return profile.Serve(ctx, address) }))
}

// onEveryReplica runs without waiting for leadership.
type onEveryReplica manager.RunnableFunc

func (r onEveryReplica) Start(ctx context.Context) error { return r(ctx) }
func (r onEveryReplica) NeedLeaderElection() bool        { return false }
