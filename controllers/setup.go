// Package controllers lists what runs in the manager: one controller for each kind, and the one that brings changed files into pods. It
// knows which objects the manager keeps in memory, and not what any controller does with them.
package controllers

import (
	"errors"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/internal/pki"
)

// Options is what the controllers need from whoever runs them.
type Options struct {
	// CA issues the serving certificates of token services. Required.
	CA *pki.CA
	// IssuerImage is the container image of token services. Required.
	IssuerImage string
	// Clock tells the time. Default: the machine's.
	Clock clock.PassiveClock
}

// Setup registers every controller with the manager.
func Setup(mgr ctrl.Manager, options Options) error {
	if options.CA == nil {
		return errors.New("set up the controllers: CA is required")
	}
	if options.IssuerImage == "" {
		return errors.New("set up the controllers: IssuerImage is required")
	}
	if options.Clock == nil {
		options.Clock = clock.RealClock{}
	}
	return nil
}

// Cache says what the manager keeps in memory. Pass it to ctrl.NewManager together with Client.
func Cache() cache.Options {
	return cache.Options{ByObject: map[client.Object]cache.ByObject{&corev1.ConfigMap{}: {Label: labels.Everything()}}}
}

// Client makes reads of Secrets go to the API server, so that no Secret stays in memory. Pass it to ctrl.NewManager together with Cache.
func Client() client.Options {
	return client.Options{Cache: &client.CacheOptions{DisableFor: []client.Object{&corev1.Secret{}}}}
}
