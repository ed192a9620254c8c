package authpolicy

import (
	"context"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	ctrlsource "sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/applied"
	"github.com/latchkey-dev/latchkey/internal/watched"
)

// byLabel indexes policies by one of the labels that a pod must have to be selected: "app=web"; "" where the selector names none.
const byLabel = "authpolicy/label"

// Setup registers the controller. Its watches name everything that a bundle or a status depends on.
func (r *Reconciler) Setup(mgr ctrl.Manager) error {
	if err := mgr.GetFieldIndexer().IndexField(context.Background(), &v1alpha1.AuthPolicy{}, byLabel, func(policy client.Object) []string {
		return []string{oneLabel(policy.(*v1alpha1.AuthPolicy))}
	}); err != nil {
		return err
	}
	changed := builder.WithPredicates(predicate.GenerationChangedPredicate{}, watched.AfterStart)
	later := builder.WithPredicates(watched.AfterStart)
	return ctrl.NewControllerManagedBy(mgr).
		Named("authpolicy").
		For(&v1alpha1.AuthPolicy{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Owns(&corev1.ConfigMap{}, later).
		Owns(&corev1.Secret{}, later, builder.OnlyMetadata).
		Watches(&v1alpha1.AuthPolicy{}, r.wake(everyPolicy), builder.WithPredicates(predicate.Funcs{UpdateFunc: selectsOthers}, watched.AfterStart)).
		Watches(&v1alpha1.TokenIssuer{}, r.wake(ofTokenIssuer), changed).
		Watches(&v1alpha1.SigningKey{}, r.wakeAnywhere(mayUseSigningKey), changed).
		Watches(&corev1.Service{}, r.wake(ofTokenIssuer), belongsTo("TokenIssuer")).
		Watches(&corev1.ConfigMap{}, r.wakeAnywhere(mayUseSigningKey), belongsTo("SigningKey")).
		Watches(&corev1.Secret{}, r.wakeAnywhere(mayUseSigningKey), belongsTo("SigningKey"), builder.OnlyMetadata).
		Watches(&corev1.Secret{}, r.wake(ofTokenIssuer), belongsTo("TokenIssuer"), builder.OnlyMetadata).
		Watches(&corev1.Namespace{}, r.wakeAnywhere(inNamespace), builder.OnlyMetadata, builder.WithPredicates(predicate.LabelChangedPredicate{}, watched.AfterStart)).
		WatchesRawSource(ctrlsource.Channel(r.Foreign.Changed(), &handler.EnqueueRequestForObject{})).
		WatchesRawSource(ctrlsource.Func(r.podsSay)).
		Watches(&corev1.Secret{}, r.wake(showingCertificate), later, builder.OnlyMetadata).
		Watches(&corev1.Pod{}, handler.EnqueueRequestsFromMapFunc(r.selecting), builder.WithPredicates(
			predicate.NewPredicateFuncs(hasSidecar), predicate.Funcs{UpdateFunc: podMatters}, watched.AfterStart)).
		WithOptions(controller.Options{MaxConcurrentReconciles: 4}).
		Complete(r)
}

// concerns returns what tells whether a policy depends on an object.
type concerns func(object client.Object) func(*v1alpha1.AuthPolicy) bool

// wake reconciles the policies of an object's namespace that it concerns.
func (r *Reconciler) wake(concern concerns) handler.EventHandler {
	return r.wakeThose(concern, client.Object.GetNamespace)
}

// wakeAnywhere reconciles the policies of all namespaces that an object concerns.
func (r *Reconciler) wakeAnywhere(concern concerns) handler.EventHandler {
	return r.wakeThose(concern, func(client.Object) string { return metav1.NamespaceAll })
}

func (r *Reconciler) wakeThose(concern concerns, namespace func(client.Object) string) handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, object client.Object) []reconcile.Request {
		var policies v1alpha1.AuthPolicyList
		if r.Client.List(ctx, &policies, client.InNamespace(namespace(object)), client.UnsafeDisableDeepCopy) != nil {
			return nil // the cache is gone: the manager is stopping
		}
		concerned := concern(object)
		var requests []reconcile.Request
		for i := range policies.Items {
			if concerned(&policies.Items[i]) {
				requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&policies.Items[i])})
			}
		}
		return requests
	})
}

func everyPolicy(client.Object) func(*v1alpha1.AuthPolicy) bool {
	return func(*v1alpha1.AuthPolicy) bool { return true }
}

// selectsOthers says whether a change of a policy may take pods from others, or give them back.
func selectsOthers(change event.UpdateEvent) bool {
	before, after := change.ObjectOld.(*v1alpha1.AuthPolicy), change.ObjectNew.(*v1alpha1.AuthPolicy)
	return before.DeletionTimestamp.IsZero() != after.DeletionTimestamp.IsZero() || !equality.Semantic.DeepEqual(before.Spec.Selector, after.Spec.Selector)
}

// settled says whether a policy's bundle is what its spec asks for. The bundle of one that cannot be rendered, or that nobody has tried to yet, goes
// on with keys of which its spec may say nothing any more: whose they are cannot be told from the policy.
func settled(policy *v1alpha1.AuthPolicy) bool {
	accepted := meta.FindStatusCondition(policy.Status.Conditions, v1alpha1.ConditionAccepted)
	return accepted != nil && accepted.Status == metav1.ConditionTrue && accepted.ObservedGeneration == policy.Generation
}

// origin is the name of an object of ours, or of the one that an object was made for.
func origin(object client.Object) string {
	if owner := metav1.GetControllerOf(object); owner != nil {
		return owner.Name
	}
	return object.GetName()
}

// ofTokenIssuer: the policies that take tokens of a TokenIssuer. Object is that, or what was made for it.
func ofTokenIssuer(object client.Object) func(*v1alpha1.AuthPolicy) bool {
	return func(policy *v1alpha1.AuthPolicy) bool {
		return !settled(policy) || slices.ContainsFunc(policy.Spec.Issuers, func(issuer v1alpha1.PolicyIssuer) bool {
			ref := issuer.Keys.TokenIssuerRef
			return ref != nil && ref.Name == origin(object)
		})
	}
}

// mayUseSigningKey: the policies that may have keys of a SigningKey in their bundles; those that take tokens of any TokenIssuer of its namespace
// are among them, for it may sign with them. Object is the SigningKey, or what it has published.
func mayUseSigningKey(object client.Object) func(*v1alpha1.AuthPolicy) bool {
	namespace, name := object.GetNamespace(), origin(object)
	return func(policy *v1alpha1.AuthPolicy) bool {
		return !settled(policy) || slices.ContainsFunc(policy.Spec.Issuers, func(issuer v1alpha1.PolicyIssuer) bool {
			ref := issuer.Keys.SigningKeyRef
			return issuer.Keys.TokenIssuerRef != nil && policy.Namespace == namespace ||
				ref != nil && ref.Name == name && ref.In(policy.Namespace) == namespace
		})
	}
}

// inNamespace: a namespace's labels decide what its policies may refer to.
func inNamespace(object client.Object) func(*v1alpha1.AuthPolicy) bool {
	return func(policy *v1alpha1.AuthPolicy) bool {
		return policy.Namespace == object.GetName() && (!settled(policy) || slices.ContainsFunc(policy.Spec.Issuers, func(issuer v1alpha1.PolicyIssuer) bool {
			ref := issuer.Keys.SigningKeyRef
			return ref != nil && ref.In(policy.Namespace) != policy.Namespace
		}))
	}
}

// showingCertificate: the policies that name a Secret, and those whose last good bundle has a certificate of another.
func showingCertificate(object client.Object) func(*v1alpha1.AuthPolicy) bool {
	return func(policy *v1alpha1.AuthPolicy) bool {
		return policy.Spec.TLS != nil && policy.Spec.TLS.SecretName == object.GetName() ||
			!settled(policy) && meta.FindStatusCondition(policy.Status.Conditions, v1alpha1.ConditionCertificateFresh) != nil
	}
}

// belongsTo passes objects that one of a kind of ours controls. It is all that a watch is given: of two such options the later one counts alone.
func belongsTo(kind string) builder.Predicates {
	return builder.WithPredicates(watched.AfterStart, predicate.NewPredicateFuncs(func(object client.Object) bool {
		owner := metav1.GetControllerOf(object)
		return owner != nil && owner.Kind == kind
	}))
}

// selecting are the policy that governs a pod, and those that select it as well.
func (r *Reconciler) selecting(ctx context.Context, pod client.Object) []reconcile.Request {
	found := map[string]bool{}
	if governing := pod.GetLabels()[v1alpha1.LabelPolicy]; governing != "" {
		found[governing] = true
	}
	for _, label := range append(pairs(pod.GetLabels()), "") {
		var policies v1alpha1.AuthPolicyList
		if r.Client.List(ctx, &policies, client.InNamespace(pod.GetNamespace()), client.MatchingFields{byLabel: label}, client.UnsafeDisableDeepCopy) != nil {
			return nil // the cache is gone: the manager is stopping
		}
		for i := range policies.Items {
			if selector(&policies.Items[i]).Matches(labels.Set(pod.GetLabels())) {
				found[policies.Items[i].Name] = true
			}
		}
	}
	var requests []reconcile.Request
	for name := range found {
		requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKey{Namespace: pod.GetNamespace(), Name: name}})
	}
	return requests
}

// oneLabel is one of the labels that a policy's pods have, the same for each policy of that selector.
func oneLabel(policy *v1alpha1.AuthPolicy) string {
	all := pairs(policy.Spec.Selector.MatchLabels)
	if len(all) == 0 {
		return ""
	}
	return slices.Min(all)
}

func pairs(set map[string]string) []string {
	var all []string
	for name, value := range set {
		all = append(all, name+"="+value)
	}
	return all
}

// podMatters says whether the status of a policy may depend on a change of a pod. Whether the pod is ready, and when it was poked, does not.
func podMatters(change event.UpdateEvent) bool {
	before, after := change.ObjectOld.(*corev1.Pod), change.ObjectNew.(*corev1.Pod)
	return before.UID != after.UID || alive(before) != alive(after) || applied.CanAnswer(before) != applied.CanAnswer(after) ||
		sidecarImage(before) != sidecarImage(after) || !maps.Equal(before.Labels, after.Labels)
}

func hasSidecar(object client.Object) bool {
	return object.GetLabels()[v1alpha1.LabelPod] == v1alpha1.LabelPodSidecar
}
