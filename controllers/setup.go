// Package controllers lists what runs in the manager: one controller for each kind, and the one that brings changed files into pods. It
// knows which objects the manager keeps in memory, and not what any controller does with them.
package controllers

import (
	"errors"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/discovery"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/controllers/authpolicy"
	"github.com/latchkey-dev/latchkey/controllers/coverage"
	"github.com/latchkey-dev/latchkey/controllers/distribution"
	"github.com/latchkey-dev/latchkey/controllers/foreign"
	"github.com/latchkey-dev/latchkey/controllers/signingkey"
	"github.com/latchkey-dev/latchkey/controllers/tokenissuer"
	"github.com/latchkey-dev/latchkey/internal/applied"
	"github.com/latchkey-dev/latchkey/internal/jwksource"
	"github.com/latchkey-dev/latchkey/internal/owned"
	"github.com/latchkey-dev/latchkey/internal/pki"
)

// Options is what the controllers need from whoever runs them.
type Options struct {
	// CA issues the serving certificates of token services. Required.
	CA *pki.CA
	// IssuerImage is the container image of token services. Required.
	IssuerImage string
	// SidecarImage is that of the sidecars that the webhook puts in. Required.
	SidecarImage string
	// Namespace is the manager's own. Its pods never get a sidecar, and are not missed.
	Namespace string
	// Clock tells the time. Default: the machine's.
	Clock clock.PassiveClock
	// Addresses says where keys of foreign issuers may be fetched. Default: jwksource.Strict.
	Addresses jwksource.AddressRule
}

// Setup registers every controller with the manager, which was made with Cache and Client.
func Setup(mgr ctrl.Manager, options Options) error {
	if options.CA == nil {
		return errors.New("set up the controllers: CA is required")
	}
	if options.IssuerImage == "" {
		return errors.New("set up the controllers: IssuerImage is required")
	}
	if options.SidecarImage == "" {
		return errors.New("set up the controllers: SidecarImage is required")
	}
	if options.Clock == nil {
		options.Clock = clock.RealClock{}
	}
	if options.Addresses == nil {
		options.Addresses = jwksource.Strict
	}
	keeper, err := foreign.New(foreign.Options{Addresses: options.Addresses, Clock: clock.RealClock{}})
	if err != nil {
		return fmt.Errorf("set up the controllers: %w", err)
	}
	if err = mgr.Add(keeper); err != nil {
		return fmt.Errorf("set up the controllers: %w", err)
	}
	cached, live := mgr.GetClient(), mgr.GetAPIReader()
	recorder := mgr.GetEventRecorder("latchkey")
	api, err := discovery.NewDiscoveryClientForConfigAndClient(mgr.GetConfig(), mgr.GetHTTPClient())
	if err != nil {
		return fmt.Errorf("set up the controllers: %w", err)
	}
	signingKeys := &signingkey.Reconciler{Client: cached, Live: live, Clock: options.Clock, Events: recorder}
	tokenIssuers := &tokenissuer.Reconciler{
		Client: cached, Live: live, Clock: options.Clock, Events: recorder, CA: options.CA, Image: options.IssuerImage,
		Accounts: tokenissuer.AccountsReader{API: api.RESTClient()},
	}
	ledger := &applied.Ledger{}
	bare := &coverage.Finder{Namespaces: cached, Pods: live, Own: options.Namespace, Clock: clock.RealClock{}, Events: recorder}
	if err = mgr.Add(bare); err != nil {
		return fmt.Errorf("set up the controllers: %w", err)
	}
	policies := &authpolicy.Reconciler{
		Client: cached, Live: live, Known: mgr.GetCache(), Clock: options.Clock, Events: recorder, CA: options.CA, Foreign: keeper, Ledger: ledger, Bare: bare, SidecarImage: options.SidecarImage,
	}
	pods := &distribution.Reconciler{Client: cached, Known: mgr.GetCache(), Clock: options.Clock, Events: recorder, Ledger: ledger}
	for _, controller := range []interface{ Setup(ctrl.Manager) error }{signingKeys, tokenIssuers, policies, pods} {
		if err := controller.Setup(mgr); err != nil {
			return fmt.Errorf("set up the controllers: %w", err)
		}
	}
	return nil
}

// Cache says what the manager keeps in memory: its own three kinds, of the kinds that it writes only what it wrote, and of the pods that
// Latchkey has to do with what package distribution leaves of them. Of Secrets it keeps the metadata, of namespaces their labels. Pass it to ctrl.NewManager together with Client.
func Cache() cache.Options {
	written := cache.ByObject{Label: labels.SelectorFromSet(labels.Set{owned.LabelManagedBy: owned.ManagedBy})}
	ours := (&client.ListOptions{}).ApplyOptions([]client.ListOption{client.HasLabels{v1alpha1.LabelPod}}).LabelSelector
	return cache.Options{
		ByObject: map[client.Object]cache.ByObject{
			&corev1.ConfigMap{}:             written,
			&corev1.Service{}:               written,
			&corev1.PersistentVolumeClaim{}: written,
			&appsv1.Deployment{}:            written,
			&corev1.Pod{}:                   {Label: ours, Transform: distribution.Trim},
			&corev1.Namespace{}:             {Transform: withoutNotes},
			&corev1.Secret{}:                {Transform: withoutNotes},
		},
		DefaultTransform: cache.TransformStripManagedFields(),
	}
}

// withoutNotes drops from an object's metadata what others note in it: kubectl notes the content of each Secret that it applies.
func withoutNotes(object any) (any, error) {
	if noted, ok := object.(metav1.Object); ok {
		noted.SetAnnotations(nil)
		noted.SetManagedFields(nil)
	}
	return object, nil
}

// Client makes reads of Secrets go to the API server, so that the content of no Secret stays in memory. Pass it to ctrl.NewManager
// together with Cache.
func Client() client.Options {
	return client.Options{Cache: &client.CacheOptions{DisableFor: []client.Object{&corev1.Secret{}}}}
}
