package authpolicy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/bundle"
	"github.com/latchkey-dev/latchkey/internal/jwksource"
	"github.com/latchkey-dev/latchkey/internal/keyset"
	"github.com/latchkey-dev/latchkey/internal/signing"
)

// source is what one of a policy's issuers refers to, as found in the cluster.
type source struct {
	keys    *keyset.Set
	from    *bundle.KeysFrom     // where keys are from; nil: given inline
	url     string               // of a TokenIssuer
	service *bundle.TokenService // of a TokenIssuer
	foreign *bundle.Foreign      // where somebody else publishes them
	state   *jwksource.State     // how fetching them goes; nil: they are not fetched
	missing *problem             // why the rest is not there
}

// resolve finds what a key source refers to. What is missing is part of the answer, beside what is there; an error means that nobody knows.
func (r *Reconciler) resolve(ctx context.Context, namespace string, keys v1alpha1.KeySource) (source, error) {
	found, err := r.find(ctx, namespace, keys)
	var missing *problem
	if errors.As(err, &missing) {
		found.missing = missing
		return found, nil
	}
	return found, err
}

func (r *Reconciler) find(ctx context.Context, namespace string, keys v1alpha1.KeySource) (source, error) {
	switch {
	case keys.TokenIssuerRef != nil:
		return r.fromTokenIssuer(ctx, namespace, keys.TokenIssuerRef.Name)
	case keys.SigningKeyRef != nil:
		return r.fromSigningKey(ctx, namespace, keys.SigningKeyRef.Name, "keys.signingKeyRef")
	default:
		set, err := keyset.Parse([]byte(keys.Inline))
		if err != nil {
			return source{}, &problem{v1alpha1.ReasonInvalid, under("keys.inline: ", err.Error())}
		}
		return source{keys: set}, nil
	}
}

func (r *Reconciler) fromTokenIssuer(ctx context.Context, namespace, name string) (source, error) {
	const path = "keys.tokenIssuerRef"
	issuer := &v1alpha1.TokenIssuer{}
	err := r.Client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, issuer)
	if apierrors.IsNotFound(err) {
		return source{}, &problem{v1alpha1.ReasonRefNotFound, fmt.Sprintf("%s: TokenIssuer %q does not exist", path, name)}
	}
	if err != nil {
		return source{}, fmt.Errorf("read the TokenIssuer: %w", err)
	}
	found, err := r.fromSigningKey(ctx, namespace, issuer.Spec.SigningKeyRef.Name, fmt.Sprintf("%s: TokenIssuer %q: signingKeyRef", path, name))
	if err != nil {
		return source{}, err
	}
	found.from.TokenIssuer = name
	service := &corev1.Service{}
	err = r.Client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name + "-issuer"}, service)
	if client.IgnoreNotFound(err) != nil {
		return source{}, fmt.Errorf("read the Service of the TokenIssuer: %w", err)
	}
	// A Service that somebody else made under this name must not receive passwords.
	if err != nil || !metav1.IsControlledBy(service, issuer) || net.ParseIP(service.Spec.ClusterIP) == nil || len(service.Spec.Ports) == 0 {
		return found, &problem{v1alpha1.ReasonRefNotReady, fmt.Sprintf("%s: TokenIssuer %q has no Service yet: see its status", path, name)}
	}
	port := strconv.Itoa(int(service.Spec.Ports[0].Port))
	found.url, found.service = issuer.Spec.Issuer, &bundle.TokenService{
		URL:     fmt.Sprintf("https://%s.%s.svc:%s", service.Name, namespace, port),
		Address: net.JoinHostPort(service.Spec.ClusterIP, port),
		CA:      string(r.CA.CertPEM()),
	}
	return found, nil
}

// fromSigningKey reads the key set that a SigningKey has published: in a ConfigMap, or in a Secret where it is symmetric.
func (r *Reconciler) fromSigningKey(ctx context.Context, namespace, name, path string) (source, error) {
	key := &v1alpha1.SigningKey{}
	err := r.Client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, key)
	if apierrors.IsNotFound(err) {
		return source{}, &problem{v1alpha1.ReasonRefNotFound, fmt.Sprintf("%s: SigningKey %q does not exist", path, name)}
	}
	if err != nil {
		return source{}, fmt.Errorf("read the SigningKey: %w", err)
	}
	published := client.ObjectKey{Namespace: namespace, Name: name + "-jwks"}
	configMap, secret := &corev1.ConfigMap{}, &corev1.Secret{}
	var set *keyset.Set
	err = r.Client.Get(ctx, published, configMap)
	switch {
	case err == nil && metav1.IsControlledBy(configMap, key):
		set, err = keyset.Parse([]byte(configMap.Data[signing.KeySetFile]))
	case client.IgnoreNotFound(err) != nil:
		return source{}, fmt.Errorf("read the key set: %w", err)
	default:
		err = r.Client.Get(ctx, published, secret)
		if client.IgnoreNotFound(err) != nil {
			return source{}, fmt.Errorf("read the key set: %w", err)
		}
		if err != nil || !metav1.IsControlledBy(secret, key) {
			return source{}, &problem{v1alpha1.ReasonRefNotReady, fmt.Sprintf("%s: SigningKey %q has published no key set yet: see its status", path, name)}
		}
		set, err = keyset.ParseSymmetric(secret.Data[signing.KeySetFile])
	}
	if err != nil {
		return source{}, &problem{v1alpha1.ReasonRefNotReady, fmt.Sprintf("%s: the key set of SigningKey %q is damaged: %v", path, name, err)}
	}
	return source{keys: set, from: &bundle.KeysFrom{SigningKey: name}}, nil
}
