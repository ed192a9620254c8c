package signingkey

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	applycore "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/keyset"
	"github.com/latchkey-dev/latchkey/internal/owned"
	"github.com/latchkey-dev/latchkey/internal/rotation"
	"github.com/latchkey-dev/latchkey/internal/signing"
)

// Reconciler rotates the keys of each SigningKey.
type Reconciler struct {
	Client client.Client
	// Live reads from the API server, past the cache.
	Live   client.Reader
	Clock  clock.PassiveClock
	Events events.EventRecorder

	mu    sync.Mutex
	heard map[types.NamespacedName]reports // while a key is due
}

// +kubebuilder:rbac:groups=auth.latchkey.dev,resources=signingkeys,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=auth.latchkey.dev,resources=signingkeys/status,verbs=update
// +kubebuilder:rbac:groups=auth.latchkey.dev,resources=signingkeys/finalizers,verbs=update
// +kubebuilder:rbac:groups=auth.latchkey.dev,resources=authpolicies;tokenissuers,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=pods;namespaces,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get;list;watch;create;update;delete
// +kubebuilder:rbac:groups="",resources=configmaps,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// Reconcile brings one ring up to what is due now, and its public half out to where verifiers find it. The SigningKey is read before its ring, and
// from the API server: see memory.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	key := &v1alpha1.SigningKey{}
	if err := r.Live.Get(ctx, request.NamespacedName, key); err != nil {
		r.forget(request.NamespacedName)
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	refs, err := r.references(ctx, key)
	if err != nil {
		return reconcile.Result{}, err
	}
	kept, err := r.hold(ctx, key, refs)
	switch {
	case err != nil:
		return owned.Again(err)
	case !kept:
		r.forget(request.NamespacedName)
		return reconcile.Result{}, nil
	}
	seen, err := r.observe(ctx, key)
	if err != nil {
		return r.report(ctx, key, decision{now: r.Clock.Now(), refs: refs}, nil, err)
	}
	made, err := r.decide(ctx, key, refs, seen)
	if err != nil {
		return r.report(ctx, key, made, nil, err)
	}
	ring, err := r.apply(ctx, key, seen, made)
	return r.report(ctx, key, made, ring, err)
}

func (r *Reconciler) forget(key client.ObjectKey) {
	forget(key)
	r.forgetReports(key)
}

// observed is what the cluster holds of one SigningKey, read from the API server: a cache that is a moment behind would have us decide
// about a ring that is no more.
type observed struct {
	secret *corev1.Secret // nil: there is none
	ring   *signing.Ring  // as it is to be: with recovery done; nil: there is none, and never was

	recovery recovery
	imports  bool // the Secret is somebody else's still, and to be taken over

	publicSet *corev1.ConfigMap // the published key set; nil: there is none
	secretSet *corev1.Secret    // the same of symmetric keys; nil: there is none
	// Why we may not write the one or the other; nil where we may.
	publicTaken, secretTaken error
}

// unreadableError says that there is a ring which we cannot read. Nothing is minted over it: tokens may be out that only it can verify.
type unreadableError struct {
	secret  string
	imports bool // it is to be taken over
	err     error
}

func (e *unreadableError) Error() string {
	if e.imports {
		return fmt.Sprintf("Secret %q cannot be taken over: %v; put that right in the Secret", e.secret, e.err)
	}
	return fmt.Sprintf("Secret %q, %s: %v; restore it, or delete the Secret to begin with new keys", e.secret, signing.RingFile, e.err)
}

// goneError says that the ring is gone and no new one is made, because the SigningKey is being deleted.
type goneError struct{ secret string }

func (e *goneError) Error() string {
	return fmt.Sprintf("Secret %q is gone, and no new keys are made for a SigningKey that is being deleted: what is published stays", e.secret)
}

func (r *Reconciler) observe(ctx context.Context, key *v1alpha1.SigningKey) (*observed, error) {
	seen := &observed{}
	if err := r.observeSecret(ctx, key, seen); err != nil {
		return nil, err
	}
	if err := r.observePublished(ctx, key, seen); err != nil {
		return nil, err
	}
	return seen, seen.recover(r.Clock.Now(), key)
}

func (r *Reconciler) observeSecret(ctx context.Context, key *v1alpha1.SigningKey, seen *observed) error {
	var err error
	seen.secret, err = r.objects().Secret(ctx, key, signingName(key))
	if owned.Refusal(err) == v1alpha1.ReasonNotOwned {
		seen.secret, err = r.importable(ctx, key, err)
		seen.imports = true
	}
	switch {
	case err != nil:
		return err
	case seen.imports:
		seen.ring, err = imported(key, seen.secret, r.Clock.Now())
	case seen.secret != nil:
		seen.ring, err = signing.ParseRing(seen.secret.Data[signing.RingFile])
	case !key.DeletionTimestamp.IsZero():
		return &goneError{secret: signingName(key)}
	}
	if err != nil {
		return &unreadableError{secret: seen.secret.Name, imports: seen.imports, err: err}
	}
	return nil
}

func (r *Reconciler) observePublished(ctx context.Context, key *v1alpha1.SigningKey, seen *observed) error {
	configMap := &corev1.ConfigMap{}
	configMap.Namespace, configMap.Name = key.Namespace, publishedName(key)
	found, err := r.objects().ReadLive(ctx, key, configMap)
	switch {
	case owned.Refusal(err) == v1alpha1.ReasonNotOwned:
		seen.publicTaken = err
	case err != nil:
		return err
	case found:
		seen.publicSet = configMap
	}
	seen.secretSet, err = r.objects().Secret(ctx, key, publishedName(key))
	if owned.Refusal(err) == v1alpha1.ReasonNotOwned {
		seen.secretTaken, err = err, nil
	}
	return err
}

// decision is what is due, and what it was decided from.
type decision struct {
	now   time.Time
	refs  references
	plan  rotation.Plan
	heard acknowledgement
}

// decide asks the pods that depend on the key whose turn has come, and nobody while there is none. Asking takes time: the clock is read
// again after it.
func (r *Reconciler) decide(ctx context.Context, key *v1alpha1.SigningKey, refs references, seen *observed) (decision, error) {
	made := decision{now: r.Clock.Now(), refs: refs}
	made.plan = decide(made.now, schedule(key.Spec), seen)
	if made.plan.Due == "" {
		r.forgetReports(client.ObjectKeyFromObject(key))
		return made, nil
	}
	var err error
	if made.heard, err = r.ask(ctx, key, refs, made.plan.Due); err != nil {
		return made, err
	}
	made.now = r.Clock.Now()
	made.plan = decide(made.now, schedule(key.Spec), seen, made.heard.complete()...)
	return made, nil
}

// apply carries the plan out: the Secret first, by a write that fails if anybody else has written it since, and then the published set. So
// what is published is always what is stored.
func (r *Reconciler) apply(ctx context.Context, key *v1alpha1.SigningKey, seen *observed, made decision) (*signing.Ring, error) {
	now, retain := made.now, key.Spec.Retain.Duration
	ring, err := seen.ring.Execute(made.plan, now, signing.Generate)
	if err != nil {
		return nil, err
	}
	set, err := ring.Public(now, retain)
	if err != nil {
		return nil, err
	}
	if taken := seen.takenFor(set); taken != nil { // before anything is written: what cannot be published must not be stored as published
		return nil, taken
	}
	data, err := ring.SecretData(now, retain)
	if err != nil {
		return nil, err
	}
	if _, err = r.objects().StoreSecret(ctx, key, seen.secret, signingName(key), corev1.SecretTypeOpaque, data); err != nil {
		return nil, err
	}
	r.announce(key, made, seen, ring.Rotation())
	return ring, r.publish(ctx, key, seen, set)
}

// takenFor is why the key set may not be written where it belongs.
func (seen *observed) takenFor(set *keyset.Set) error {
	if set.Symmetric() {
		return seen.secretTaken
	}
	return seen.publicTaken
}

// publish writes the key set where verifiers find it: a ConfigMap, or a Secret as soon as one key is a shared secret. The other of the two
// is removed after that, so there is no moment without any.
func (r *Reconciler) publish(ctx context.Context, key *v1alpha1.SigningKey, seen *observed, set *keyset.Set) error {
	document, err := set.Marshal()
	if err != nil {
		return err
	}
	if set.Symmetric() {
		data := map[string][]byte{signing.KeySetFile: document}
		if _, err := r.objects().StoreSecret(ctx, key, seen.secretSet, publishedName(key), corev1.SecretTypeOpaque, data); err != nil {
			return err
		}
		if seen.publicSet != nil {
			return r.objects().Remove(ctx, seen.publicSet)
		}
		return nil
	}
	rendered := applycore.ConfigMap(publishedName(key), key.Namespace).
		WithData(map[string]string{signing.KeySetFile: string(document)})
	if err := r.objects().Apply(ctx, key, &corev1.ConfigMap{}, rendered); err != nil {
		return err
	}
	if seen.secretSet != nil {
		return r.objects().Remove(ctx, seen.secretSet)
	}
	return nil
}

func (r *Reconciler) objects() owned.Objects { return owned.Objects{Client: r.Client, Live: r.Live} }

func signingName(key *v1alpha1.SigningKey) string   { return key.Name + "-signing" }
func publishedName(key *v1alpha1.SigningKey) string { return key.Name + "-jwks" }
