package authpolicy

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	applycore "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/applied"
	"github.com/latchkey-dev/latchkey/internal/bundle"
	"github.com/latchkey-dev/latchkey/internal/owned"
	"github.com/latchkey-dev/latchkey/internal/pki"
)

// Reconciler renders the bundle of each AuthPolicy.
type Reconciler struct {
	Client client.Client
	// Live reads from the API server, past the cache.
	Live client.Reader
	// Known has the metadata of Secrets, and may be a moment behind.
	Known  client.Reader
	Clock  clock.PassiveClock
	Events events.EventRecorder
	// CA is the authority that token services have their certificates from.
	CA *pki.CA
	// Foreign fetches the keys of foreign issuers.
	Foreign ForeignKeys
	// Ledger knows what pods say they have applied.
	Ledger *applied.Ledger
	// Bare knows the pods that lack a sidecar.
	Bare BarePods
	// SidecarImage is the image of the sidecars that are put into new pods.
	SidecarImage string
}

// +kubebuilder:rbac:groups=auth.latchkey.dev,resources=authpolicies;signingkeys;tokenissuers,verbs=get;list;watch
// +kubebuilder:rbac:groups=auth.latchkey.dev,resources=authpolicies/status,verbs=update
// +kubebuilder:rbac:groups=auth.latchkey.dev,resources=authpolicies/finalizers,verbs=update
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get;list;watch;create;update;delete
// +kubebuilder:rbac:groups="",resources=configmaps,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups="",resources=services;pods;namespaces,verbs=get;list;watch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// Reconcile renders one bundle. Where the policy cannot be rendered, the last good bundle stays in force and only its keys are renewed; no
// other policy notices.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	policy := &v1alpha1.AuthPolicy{}
	err := r.Client.Get(ctx, request.NamespacedName, policy)
	if apierrors.IsNotFound(err) {
		forget(request.NamespacedName)
		_, err = r.Foreign.Keep(request.NamespacedName, nil)
		return reconcile.Result{}, err
	}
	if err != nil || !policy.DeletionTimestamp.IsZero() {
		return reconcile.Result{}, err
	}
	seen, err := r.observe(ctx, policy)
	if err != nil {
		return reconcile.Result{}, err
	}
	if awaited(seen.sources) {
		return reconcile.Result{RequeueAfter: firstAnswer}, nil // the answer wakes us before
	}
	rendered, problems := render(policy.Spec, seen.sources, seen.shown)
	if len(problems) > 0 {
		if seen.lastGood, err = r.recall(ctx, policy.Namespace, seen.foreign); err != nil {
			return reconcile.Result{}, err
		}
		rendered = seen.lastGood.renew(r.Clock.Now())
	}
	if rendered != nil {
		seen.inForce = rendered.certificate
		err = r.apply(ctx, policy, seen, rendered)
	}
	return r.report(ctx, policy, seen, problems, err)
}

// observed is everything that the bundle and the status of a policy depend on.
type observed struct {
	sources  []source // one for each of the policy's issuers
	shown    certificate
	inForce  *bundle.Certificate // that pods are to show
	siblings []v1alpha1.AuthPolicy
	pods     []corev1.Pod // those with the policy's sidecar
	disputed []corev1.Pod // all with a sidecar, where an older policy may select some that this one selects
	written  written
	foreign  foreignKeys
	lastGood *lastGood // what is written, read back; only where the policy cannot be rendered
}

// written is what there is of the policy's bundle; empty: nothing yet.
type written struct {
	configMap *corev1.ConfigMap
	secret    *corev1.Secret
}

// document is the bundle that is in force. Where both objects exist, the manager was killed between writing one and removing the other;
// pods read the Secret then, because its projection comes last.
func (w written) document() []byte {
	switch {
	case w.secret != nil:
		return w.secret.Data[bundle.FileName]
	case w.configMap != nil:
		return []byte(w.configMap.Data[bundle.FileName])
	}
	return nil
}

// bundle is document, read back; nil when there is none that a sidecar would take, because somebody edited it by hand.
func (w written) bundle() *bundle.Bundle {
	parsed, err := bundle.Parse(w.document())
	if err != nil {
		return nil
	}
	return parsed
}

func (r *Reconciler) observe(ctx context.Context, policy *v1alpha1.AuthPolicy) (*observed, error) {
	seen := &observed{}
	var err error
	if seen.written, err = r.observeWritten(ctx, policy); err != nil {
		return nil, err
	}
	if seen.foreign, err = r.foreignKeys(policy, seen.written.bundle()); err != nil {
		return nil, err
	}
	for _, issuer := range policy.Spec.Issuers {
		var found source
		if from, isForeign := sourceInSpec(issuer); isForeign {
			found = seen.foreign.find(from)
		} else if found, err = r.resolve(ctx, policy.Namespace, issuer.Keys); err != nil {
			return nil, err
		}
		seen.sources = append(seen.sources, found)
	}
	if tls := policy.Spec.TLS; tls != nil {
		var err error
		if seen.shown, err = r.findCertificate(ctx, policy.Namespace, tls.SecretName); err != nil {
			return nil, err
		}
	}
	return seen, r.observeNeighbours(ctx, policy, seen)
}

// observeNeighbours looks at the namespace's policies and pods, of which there may be thousands: none is copied or changed, and the pods of others are
// looked at only where that decides something.
func (r *Reconciler) observeNeighbours(ctx context.Context, policy *v1alpha1.AuthPolicy, seen *observed) error {
	var policies v1alpha1.AuthPolicyList
	if err := r.Client.List(ctx, &policies, client.InNamespace(policy.Namespace), client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("list the policies of the namespace: %w", err)
	}
	seen.siblings = policies.Items
	pods := func(which ...client.ListOption) ([]corev1.Pod, error) {
		var found corev1.PodList
		if err := r.Client.List(ctx, &found, append(which, client.InNamespace(policy.Namespace), client.UnsafeDisableDeepCopy)...); err != nil {
			return nil, fmt.Errorf("list the pods of the namespace: %w", err)
		}
		return found.Items, nil
	}
	var err error
	if seen.pods, err = pods(client.MatchingLabels{v1alpha1.LabelPod: v1alpha1.LabelPodSidecar, v1alpha1.LabelPolicy: policy.Name}); err != nil || !mayBeOvershadowed(policy, seen.siblings) {
		return err
	}
	seen.disputed, err = pods(client.MatchingLabels{v1alpha1.LabelPod: v1alpha1.LabelPodSidecar})
	return err
}

func (r *Reconciler) observeWritten(ctx context.Context, policy *v1alpha1.AuthPolicy) (written, error) {
	var w written
	configMap := &corev1.ConfigMap{}
	configMap.Namespace, configMap.Name = policy.Namespace, bundleName(policy)
	found, err := r.objects().Read(ctx, policy, configMap)
	if found && err == nil {
		w.configMap = configMap
	}
	if err != nil && owned.Refusal(err) == "" {
		return w, err
	}
	// What is not even known of need not be asked for: most bundles have nothing secret. One that comes wakes us.
	metadata := &metav1.PartialObjectMetadata{}
	metadata.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	if err = r.Known.Get(ctx, client.ObjectKeyFromObject(configMap), metadata, client.UnsafeDisableDeepCopy); err != nil {
		return w, client.IgnoreNotFound(err)
	}
	// One that is somebody else's counts as none. It is refused when we come to write it.
	w.secret, err = r.objects().Secret(ctx, policy, bundleName(policy))
	if owned.Refusal(err) != "" {
		err = nil
	}
	return w, err
}

// apply writes the bundle where its pods mount it: a ConfigMap, or a Secret if it holds secrets. The other of the two is removed after
// that, so there is no moment without any.
func (r *Reconciler) apply(ctx context.Context, policy *v1alpha1.AuthPolicy, seen *observed, b *rendering) error {
	if b.secret {
		secret, err := r.objects().Secret(ctx, policy, bundleName(policy)) // again, now to be told if it is somebody else's
		if err != nil {
			return err
		}
		data := map[string][]byte{bundle.FileName: b.document}
		seen.written.secret, err = r.objects().StoreSecret(ctx, policy, secret, bundleName(policy), corev1.SecretTypeOpaque, data)
		if err != nil || seen.written.configMap == nil {
			return err
		}
		return r.objects().Remove(ctx, seen.written.configMap)
	}
	applied := &corev1.ConfigMap{}
	rendered := applycore.ConfigMap(bundleName(policy), policy.Namespace).
		WithData(map[string]string{bundle.FileName: string(b.document)})
	if err := r.objects().Apply(ctx, policy, applied, rendered); err != nil {
		return err
	}
	stale := seen.written.secret
	seen.written = written{configMap: applied}
	if stale != nil {
		return r.objects().Remove(ctx, stale)
	}
	return nil
}

func (r *Reconciler) objects() owned.Objects { return owned.Objects{Client: r.Client, Live: r.Live} }

func bundleName(policy *v1alpha1.AuthPolicy) string { return policy.Name + "-bundle" }
