package authpolicy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/bundle"
	"github.com/latchkey-dev/latchkey/internal/jwksource"
	"github.com/latchkey-dev/latchkey/internal/keyset"
	"github.com/latchkey-dev/latchkey/internal/sidecartoken"
	"github.com/latchkey-dev/latchkey/internal/signing"
)

// source is what one of a policy's issuers refers to, as found in the cluster.
type source struct {
	keys *keyset.Set
	from *bundle.KeysFrom // where keys are from; nil: given inline
	url  string           // of a TokenIssuer
	// delivery of a TokenIssuer's refresh tokens.
	delivery v1alpha1.RefreshTokenDelivery
	service  *bundle.TokenService // of a TokenIssuer
	foreign  *bundle.Foreign      // where somebody else publishes them
	state    *jwksource.State     // how fetching them goes; nil: they are not fetched
	missing  *problem             // why the rest is not there
	// withdrawn says that another namespace does not share its keys with the policy's, or not any more: they are not to be trusted.
	withdrawn bool
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
		const path = "keys.signingKeyRef"
		if keys.SigningKeyRef.In(namespace) != namespace {
			return r.fromElsewhere(ctx, namespace, keys.SigningKeyRef, path)
		}
		return r.fromSigningKey(ctx, namespace, keys.SigningKeyRef.Name, path)
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
	token, err := r.sidecarToken(ctx, issuer, path)
	if err != nil {
		return found, err
	}
	port := strconv.Itoa(int(service.Spec.Ports[0].Port))
	found.delivery = issuer.Spec.RefreshToken.Delivery
	found.url, found.service = issuer.Spec.Issuer, &bundle.TokenService{
		URL:     fmt.Sprintf("https://%s.%s.svc:%s", service.Name, namespace, port),
		Address: net.JoinHostPort(service.Spec.ClusterIP, port),
		CA:      string(r.CA.TrustPEM()),
		Token:   token,
	}
	return found, nil
}

// sidecarToken reads what the token service believes sidecars by.
func (r *Reconciler) sidecarToken(ctx context.Context, issuer *v1alpha1.TokenIssuer, path string) (sidecartoken.Token, error) {
	secret := &corev1.Secret{}
	err := r.Client.Get(ctx, client.ObjectKey{Namespace: issuer.Namespace, Name: issuer.Name + "-issuer-sidecars"}, secret)
	if client.IgnoreNotFound(err) != nil {
		return sidecartoken.Token{}, fmt.Errorf("read the sidecars' token of the TokenIssuer: %w", err)
	}
	token, unreadable := sidecartoken.Parse(string(secret.Data[sidecartoken.File]))
	if err != nil || !metav1.IsControlledBy(secret, issuer) || unreadable != nil {
		return sidecartoken.Token{}, &problem{v1alpha1.ReasonRefNotReady, fmt.Sprintf("%s: TokenIssuer %q has no token for sidecars yet: see its status", path, issuer.Name)}
	}
	return token, nil
}

// fromSigningKey finds the key set of a SigningKey of the policy's own namespace.
func (r *Reconciler) fromSigningKey(ctx context.Context, namespace, name, path string) (source, error) {
	key := &v1alpha1.SigningKey{}
	err := r.Client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, key)
	if apierrors.IsNotFound(err) {
		return source{}, &problem{v1alpha1.ReasonRefNotFound, fmt.Sprintf("%s: SigningKey %q does not exist", path, name)}
	}
	if err != nil {
		return source{}, fmt.Errorf("read the SigningKey: %w", err)
	}
	set, err := r.published(ctx, key, path)
	if err != nil {
		return source{}, err
	}
	return source{keys: set, from: &bundle.KeysFrom{SigningKey: name}}, nil
}

// fromElsewhere finds the key set of a SigningKey of another namespace, where that consents. What is not shared and what is not there are
// told and treated alike: nobody learns from a policy what other namespaces hold.
func (r *Reconciler) fromElsewhere(ctx context.Context, namespace string, ref *v1alpha1.SigningKeyRef, path string) (source, error) {
	asking := &metav1.PartialObjectMetadata{}
	asking.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	if err := r.Client.Get(ctx, client.ObjectKey{Name: namespace}, asking); client.IgnoreNotFound(err) != nil {
		return source{}, fmt.Errorf("read the labels of the namespace: %w", err)
	}
	key := &v1alpha1.SigningKey{}
	err := r.Client.Get(ctx, client.ObjectKey{Namespace: ref.Namespace, Name: ref.Name}, key)
	if client.IgnoreNotFound(err) != nil {
		return source{}, fmt.Errorf("read the SigningKey: %w", err)
	}
	if err != nil || !key.SharedWith(namespace, asking.Labels) {
		return source{withdrawn: true}, &problem{v1alpha1.ReasonRefNotPermitted, fmt.Sprintf(
			"%s: there is no SigningKey %q in namespace %q that this namespace may refer to: if there is one, its allowedNamespaces must include %q",
			path, ref.Name, ref.Namespace, namespace)}
	}
	set, err := r.published(ctx, key, path)
	if err != nil {
		return source{}, err
	}
	found := source{keys: set, from: &bundle.KeysFrom{SigningKey: ref.Name, Namespace: ref.Namespace}}
	if set.Symmetric() {
		public := slices.DeleteFunc(set.Keys(), (*keyset.Key).Symmetric)
		if found.keys, err = keyset.NewSet(public...); err != nil { // there are none
			found = source{withdrawn: true}
		}
		return found, &problem{v1alpha1.ReasonRefNotPermitted, fmt.Sprintf(
			"%s: SigningKey %q of namespace %q has HS keys: these are shared secrets, which are never shared with other namespaces", path, ref.Name, ref.Namespace)}
	}
	return found, nil
}

// published reads the key set that a SigningKey has published: in a ConfigMap, or in a Secret where it is symmetric.
func (r *Reconciler) published(ctx context.Context, key *v1alpha1.SigningKey, path string) (*keyset.Set, error) {
	published := client.ObjectKey{Namespace: key.Namespace, Name: key.Name + "-jwks"}
	configMap, secret := &corev1.ConfigMap{}, &corev1.Secret{}
	var set *keyset.Set
	err := r.Client.Get(ctx, published, configMap)
	switch {
	case err == nil && metav1.IsControlledBy(configMap, key):
		set, err = keyset.Parse([]byte(configMap.Data[signing.KeySetFile]))
	case client.IgnoreNotFound(err) != nil:
		return nil, fmt.Errorf("read the key set: %w", err)
	default:
		err = r.Client.Get(ctx, published, secret)
		if client.IgnoreNotFound(err) != nil {
			return nil, fmt.Errorf("read the key set: %w", err)
		}
		if err != nil || !metav1.IsControlledBy(secret, key) {
			return nil, &problem{v1alpha1.ReasonRefNotReady, fmt.Sprintf("%s: SigningKey %q has published no key set yet: see its status", path, key.Name)}
		}
		set, err = keyset.ParseSymmetric(secret.Data[signing.KeySetFile])
	}
	if err != nil {
		return nil, &problem{v1alpha1.ReasonRefNotReady, fmt.Sprintf("%s: the key set of SigningKey %q is damaged: %v", path, key.Name, err)}
	}
	return set, nil
}
