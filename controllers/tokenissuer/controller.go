package tokenissuer

import (
	"context"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/owned"
	"github.com/latchkey-dev/latchkey/internal/pki"
	"github.com/latchkey-dev/latchkey/internal/sidecartoken"
)

// Reconciler keeps one token service running for each TokenIssuer.
type Reconciler struct {
	Client client.Client
	// Live reads from the API server, past the cache.
	Live   client.Reader
	Clock  clock.PassiveClock
	Events events.EventRecorder
	CA     *pki.CA
	// Accounts tells who signs the tokens of ServiceAccounts.
	Accounts AccountsReader
	// Image is the container image of the token service.
	Image string
}

// +kubebuilder:rbac:groups=auth.latchkey.dev,resources=tokenissuers,verbs=get;list;watch
// +kubebuilder:rbac:groups=auth.latchkey.dev,resources=tokenissuers/status,verbs=update
// +kubebuilder:rbac:groups=auth.latchkey.dev,resources=tokenissuers/finalizers,verbs=update
// +kubebuilder:rbac:groups=auth.latchkey.dev,resources=signingkeys,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=configmaps;services;persistentvolumeclaims,verbs=get;list;watch;create;patch
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get;list;watch;create;update
// +kubebuilder:rbac:groups=apps,resources=deployments,verbs=get;list;watch;create;patch
// +kubebuilder:rbac:groups=networking.k8s.io,resources=networkpolicies,verbs=get;list;watch;create;patch
// +kubebuilder:rbac:groups=policy,resources=poddisruptionbudgets,verbs=get;list;watch;create;patch
// +kubebuilder:rbac:urls=/.well-known/openid-configuration;/openid/v1/jwks,verbs=get
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// Reconcile brings one token service up to what its TokenIssuer says.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	issuer := &v1alpha1.TokenIssuer{}
	if err := r.Client.Get(ctx, request.NamespacedName, issuer); err != nil || !issuer.DeletionTimestamp.IsZero() {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	now := r.Clock.Now()
	seen, err := r.observe(ctx, issuer)
	if err != nil {
		return reconcile.Result{}, err
	}
	verdict := judge(issuer, seen)
	renewAt, err := r.certify(ctx, issuer, now)
	if err == nil {
		err = r.introduce(ctx, issuer)
	}
	if err == nil && verdict.accepted() {
		err = r.apply(ctx, issuer, seen)
	}
	return r.report(ctx, issuer, seen, verdict, renewAt.Sub(now), err)
}

// observed is everything that a verdict on a TokenIssuer depends on.
type observed struct {
	signingKey *v1alpha1.SigningKey // nil: not there
	missing    []secretRef          // Secrets that are not there
	accounts   Accounts             // who signs the tokens of ServiceAccounts; empty unless there are trusted backends
	deployment *appsv1.Deployment   // as applied last; empty: not there

	claim *corev1.PersistentVolumeClaim // for the session database; empty: not there, or none is needed
}

func (r *Reconciler) observe(ctx context.Context, issuer *v1alpha1.TokenIssuer) (*observed, error) {
	seen := &observed{signingKey: &v1alpha1.SigningKey{}, deployment: &appsv1.Deployment{}, claim: &corev1.PersistentVolumeClaim{}}
	err := r.Client.Get(ctx, client.ObjectKey{Namespace: issuer.Namespace, Name: issuer.Spec.SigningKeyRef.Name}, seen.signingKey)
	if apierrors.IsNotFound(err) {
		seen.signingKey, err = nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the SigningKey: %w", err)
	}
	for _, ref := range secretsOf(issuer) {
		// Whether it is there is all that matters here: the token service alone reads what is in it.
		secret := &metav1.PartialObjectMetadata{}
		secret.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
		err = r.Client.Get(ctx, client.ObjectKey{Namespace: issuer.Namespace, Name: ref.name}, secret)
		if apierrors.IsNotFound(err) {
			seen.missing, err = append(seen.missing, ref), nil
		}
		if err != nil {
			return nil, fmt.Errorf("look for the Secret of %s: %w", ref.path, err)
		}
	}
	if len(issuer.Spec.Login.TrustedBackends) > 0 {
		if seen.accounts, err = r.Accounts.Read(ctx); err != nil {
			return nil, err
		}
	}
	err = r.Client.Get(ctx, client.ObjectKey{Namespace: issuer.Namespace, Name: objectName(issuer)}, seen.deployment)
	if client.IgnoreNotFound(err) != nil {
		return nil, fmt.Errorf("read the Deployment: %w", err)
	}
	if !metav1.IsControlledBy(seen.deployment, issuer) {
		seen.deployment = &appsv1.Deployment{}
	}
	return seen, nil
}

// secretRef is a field of the spec that names a Secret.
type secretRef struct{ path, name string }

// secretsOf are the Secrets of other people's that a TokenIssuer refers to.
func secretsOf(issuer *v1alpha1.TokenIssuer) []secretRef {
	var refs []secretRef
	if ref := issuer.Spec.Login.UsersSecretRef; ref != nil {
		refs = append(refs, secretRef{"login.usersSecretRef", ref.Name})
	}
	if hook := issuer.Spec.Login.Webhook; hook != nil {
		refs = append(refs, secretRef{"login.webhook.secretRef", hook.SecretRef.Name})
	}
	if store := issuer.Spec.Store.PostgreSQL; store != nil {
		refs = append(refs, secretRef{"store.postgreSQL.dsnSecretRef", store.DSNSecretRef.Name})
		if store.CASecretRef != nil {
			refs = append(refs, secretRef{"store.postgreSQL.caSecretRef", store.CASecretRef.Name})
		}
	}
	if store := issuer.Spec.Store.Redis; store != nil {
		refs = append(refs, secretRef{"store.redis.urlSecretRef", store.URLSecretRef.Name})
		if store.CASecretRef != nil {
			refs = append(refs, secretRef{"store.redis.caSecretRef", store.CASecretRef.Name})
		}
	}
	return refs
}

// certify keeps a serving certificate in the Secret <name>-issuer-tls and returns when it is to be renewed. It needs nothing from the spec,
// so a certificate does not run out while something else is wrong. What cannot be read is issued again: nobody depends on the old one.
func (r *Reconciler) certify(ctx context.Context, issuer *v1alpha1.TokenIssuer, now time.Time) (time.Time, error) {
	name, hosts := objectName(issuer)+"-tls", []string{host(issuer)}
	secret, err := r.objects().Secret(ctx, issuer, name)
	if err != nil {
		return time.Time{}, err
	}
	if secret != nil {
		held, unreadable := pki.Parse(secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey])
		if unreadable == nil && r.CA.Vouches(held, hosts, now) && !held.NeedsRenewal(now) {
			return held.RenewAt(), nil
		}
	}
	fresh, err := r.CA.Issue(hosts, nil, now)
	if err != nil {
		return time.Time{}, err
	}
	_, err = r.objects().StoreSecret(ctx, issuer, secret, name, corev1.SecretTypeTLS, map[string][]byte{
		corev1.TLSCertKey:       fresh.CertPEM(),
		corev1.TLSPrivateKeyKey: fresh.KeyPEM(),
	})
	return fresh.RenewAt(), err
}

// introduce keeps the token by which the token service believes sidecars, in the Secret <name>-issuer-sidecars.
func (r *Reconciler) introduce(ctx context.Context, issuer *v1alpha1.TokenIssuer) error {
	name := sidecarsSecret(issuer)
	secret, err := r.objects().Secret(ctx, issuer, name)
	if err != nil {
		return err
	}
	if secret != nil {
		if _, unreadable := sidecartoken.Parse(string(secret.Data[sidecartoken.File])); unreadable == nil {
			return nil
		}
	}
	_, err = r.objects().StoreSecret(ctx, issuer, secret, name, corev1.SecretTypeOpaque,
		map[string][]byte{sidecartoken.File: []byte(sidecartoken.New().Encode())})
	return err
}

// apply writes what the token service needs before the Deployment that needs it.
func (r *Reconciler) apply(ctx context.Context, issuer *v1alpha1.TokenIssuer, seen *observed) error {
	config, err := renderConfig(issuer, seen.accounts)
	if err != nil {
		return err
	}
	objects := r.objects()
	if err := objects.Apply(ctx, issuer, &corev1.ConfigMap{}, config); err != nil {
		return err
	}
	if issuer.Spec.Store.SQLite != nil {
		if err := objects.Apply(ctx, issuer, seen.claim, renderVolume(issuer)); err != nil {
			return err
		}
	}
	if err := objects.Apply(ctx, issuer, &networkingv1.NetworkPolicy{}, renderNetworkPolicy(issuer)); err != nil {
		return err
	}
	if err := objects.Apply(ctx, issuer, &policyv1.PodDisruptionBudget{}, renderBudget(issuer)); err != nil {
		return err
	}
	if err := objects.Apply(ctx, issuer, &corev1.Service{}, renderService(issuer)); err != nil {
		return err
	}
	seen.deployment = &appsv1.Deployment{}
	return objects.Apply(ctx, issuer, seen.deployment, renderDeployment(issuer, r.Image))
}

func (r *Reconciler) objects() owned.Objects { return owned.Objects{Client: r.Client, Live: r.Live} }
