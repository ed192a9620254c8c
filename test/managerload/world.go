package managerload

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/test/installation"
)

// size is how many there are of what.
type size struct{ namespaces, signingKeys, policies, pods int }

func (s size) String() string {
	return fmt.Sprintf("%d policies, %d SigningKeys, %d TokenIssuers and %d pods in %d namespaces", s.policies, s.signingKeys, s.namespaces, s.pods, s.namespaces)
}

// The policy of index 0 has a tenth of all pods, and each of the others its share of the rest.
const big = 0

func (s size) podsOf(policy int) int {
	if policy == big {
		return s.pods / 10
	}
	rest, others := s.pods-s.pods/10, s.policies-1
	if policy <= rest%others {
		return rest/others + 1
	}
	return rest / others
}

// sharers are the policies, in all namespaces, that take keys of the first SigningKey: one in twenty.
func (s size) sharers() []int {
	var policies []int
	for i := 1; i <= max(2, s.policies/20); i++ {
		policies = append(policies, i)
	}
	return policies
}

// world is what a run has put into the cluster.
type world struct {
	size
	kube client.WithWatch
	pods *standIns
}

// makers is how many requests make the world at the same time.
const makers = 16

// build makes everything, in an order in which nothing has to wait: a pod comes after its policy's bundle.
func (w *world) build(ctx context.Context) error {
	if err := w.each(ctx, w.namespaces, w.makeNamespace); err != nil {
		return err
	}
	if err := w.each(ctx, w.signingKeys, func(ctx context.Context, i int) error {
		key := &v1alpha1.SigningKey{ObjectMeta: w.key(i)}
		if i == 0 {
			key.Spec.AllowedNamespaces.From = v1alpha1.FromAll
		}
		return w.kube.Create(ctx, key)
	}); err != nil {
		return err
	}
	if err := w.each(ctx, w.policies, func(ctx context.Context, i int) error { return w.kube.Create(ctx, w.makePolicy(i)) }); err != nil {
		return err
	}
	if err := await(ctx, "policies", w.policiesReady); err != nil {
		return err
	}
	for policy := range w.policies {
		if err := w.each(ctx, w.podsOf(policy), func(ctx context.Context, _ int) error { return w.makePod(ctx, policy) }); err != nil {
			return err
		}
	}
	return nil
}

// each calls do for each index below n, makers of them at the same time.
func (w *world) each(ctx context.Context, n int, do func(context.Context, int) error) error {
	making, ctx := errgroup.WithContext(ctx)
	making.SetLimit(makers)
	for i := range n {
		making.Go(func() error { return do(ctx, i) })
	}
	return making.Wait()
}

func (w *world) namespace(i int) string { return fmt.Sprintf("load-%03d", i%w.namespaces) }

func (w *world) key(i int) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: w.namespace(i), Name: fmt.Sprintf("key-%04d", i)}
}

func (w *world) policy(i int) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: w.namespace(i), Name: fmt.Sprintf("policy-%04d", i)}
}

// makeNamespace makes a namespace with a TokenIssuer, which signs with the namespace's second key.
func (w *world) makeNamespace(ctx context.Context, i int) error {
	for _, object := range []client.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.namespace(i)}},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace(i), Name: "users"}, Data: map[string][]byte{"users.yaml": []byte("users: []")}},
		&v1alpha1.TokenIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace(i), Name: "sessions"}, Spec: v1alpha1.TokenIssuerSpec{
			Issuer: "https://auth.example/" + w.namespace(i), SigningKeyRef: v1alpha1.ObjectRef{Name: w.key(i + w.namespaces).Name},
			AccessToken: v1alpha1.AccessToken{Audiences: []string{"app"}},
			Login:       v1alpha1.Login{UsersSecretRef: &v1alpha1.ObjectRef{Name: "users"}},
		}},
	} {
		if err := w.kube.Create(ctx, object); err != nil {
			return err
		}
	}
	return nil
}

// named are policies by their full names.
func (w *world) named(policies ...int) map[types.NamespacedName]bool {
	named := map[types.NamespacedName]bool{}
	for _, i := range policies {
		named[types.NamespacedName{Namespace: w.policy(i).Namespace, Name: w.policy(i).Name}] = true
	}
	return named
}

// makePolicy renders a policy. One in twenty takes keys of the first SigningKey, which is most often another namespace's, one in ten of its
// namespace's TokenIssuer, which makes its bundle a Secret, and the others of a SigningKey of their namespace.
func (w *world) makePolicy(i int) *v1alpha1.AuthPolicy {
	named := w.policy(i)
	var keys v1alpha1.KeySource
	switch {
	case i >= 1 && i <= len(w.sharers()):
		keys.SigningKeyRef = &v1alpha1.SigningKeyRef{Namespace: w.key(0).Namespace, Name: w.key(0).Name}
	case i%10 == 5:
		keys.TokenIssuerRef = &v1alpha1.ObjectRef{Name: "sessions"}
	default: // not the namespace's first key
		own := w.signingKeys/w.namespaces - 1
		keys.SigningKeyRef = &v1alpha1.SigningKeyRef{Name: w.key(i%w.namespaces + w.namespaces*(1+i/w.namespaces%own)).Name}
	}
	issuer := v1alpha1.PolicyIssuer{Audiences: []string{"app"}, Keys: keys}
	if keys.SigningKeyRef != nil {
		issuer.URL = "https://issuer.example/"
	}
	return &v1alpha1.AuthPolicy{ObjectMeta: named, Spec: v1alpha1.AuthPolicySpec{
		Selector: metav1.LabelSelector{MatchLabels: map[string]string{"app": named.Name}},
		Ports:    []int32{8080},
		Issuers:  []v1alpha1.PolicyIssuer{issuer},
		Rules: []v1alpha1.PolicyRule{
			{Paths: []v1alpha1.PathMatch{{Prefix: "/assets"}}, Methods: []string{"GET"}, Access: v1alpha1.AccessAnonymous},
			{Paths: []v1alpha1.PathMatch{{Prefix: "/admin"}}, Claims: []v1alpha1.ClaimRequirement{{Claim: "roles", AnyOf: []string{"admin"}}}},
		},
		Default: v1alpha1.DefaultAuthenticated,
		Forward: v1alpha1.Forward{Headers: []v1alpha1.ClaimHeader{{Name: "X-Auth-Subject", Claim: "sub"}}},
	}}
}

// makePod makes a pod of a policy, as a workload's controller would, and has it run and be ready, as a kubelet would say.
func (w *world) makePod(ctx context.Context, policy int) error {
	named := w.policy(policy)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: named.Namespace, GenerateName: named.Name + "-", Labels: map[string]string{
			"app": named.Name, "pod-template-hash": "5d9c7b8f6", v1alpha1.LabelInject: v1alpha1.LabelInjectEnabled,
		}},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{
			Name: "app", Image: "example.com/app:1",
			Env: []corev1.EnvVar{{Name: "DATABASE", Value: "postgres://db.example/app"}, {Name: "LOG_LEVEL", Value: "info"}},
		}}},
	}
	if err := w.kube.Create(ctx, pod); err != nil {
		return err
	}
	ip, err := w.pods.start(ctx, pod)
	if err != nil {
		return err
	}
	pod.Status = corev1.PodStatus{
		Phase: corev1.PodRunning, PodIP: ip.String(), PodIPs: []corev1.PodIP{{IP: ip.String()}},
		Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.Now()}},
	}
	return w.kube.Status().Update(ctx, pod)
}

// policiesReady says whether each policy's bundle is what its spec asks for, and each of its pods is in step with it.
func (w *world) policiesReady(ctx context.Context) (bool, string) {
	var policies v1alpha1.AuthPolicyList
	if err := w.kube.List(ctx, &policies); err != nil {
		return false, err.Error()
	}
	if len(policies.Items) != w.policies {
		return false, fmt.Sprintf("there are %d policies", len(policies.Items))
	}
	for i := range policies.Items {
		policy := &policies.Items[i]
		ready := meta.FindStatusCondition(policy.Status.Conditions, v1alpha1.ConditionReady)
		if ready == nil || ready.Status != metav1.ConditionTrue || ready.ObservedGeneration != policy.Generation {
			return false, fmt.Sprintf("policy %s: %+v", policy.Name, ready)
		}
		if pods := w.pods.of(client.ObjectKeyFromObject(policy)); int(policy.Status.Pods) != pods || int(policy.Status.PodsInStep) != pods {
			return false, fmt.Sprintf("policy %s: of %d pods it counts %d, %d in step", policy.Name, pods, policy.Status.Pods, policy.Status.PodsInStep)
		}
	}
	return true, ""
}

// await waits until something is the case. That takes as long as it takes: a run of the largest size takes minutes to be made.
func await(ctx context.Context, what string, is func(context.Context) (bool, string)) error {
	_, err := installation.Await(ctx, 20*time.Minute, func() (bool, string) { return is(ctx) })
	if err != nil {
		return fmt.Errorf("wait for %s: %w", what, err)
	}
	return nil
}
