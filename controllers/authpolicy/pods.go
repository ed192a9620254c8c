package authpolicy

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/applied"
	"github.com/latchkey-dev/latchkey/internal/bundle"
	"github.com/latchkey-dev/latchkey/internal/filetree"
	"github.com/latchkey-dev/latchkey/internal/inject"
)

const (
	// settle is how long the words of pods are gathered before the status tells of them: a change that fifty pods apply is one or two writes.
	settle = 500 * time.Millisecond
	// mostNames bounds how many pods a condition names.
	mostNames = 10
)

// BarePods knows the pods that ask for the sidecar and have none.
type BarePods interface {
	// In returns those of a namespace, sorted by name, and whether anybody has looked yet.
	In(namespace string) (pods []metav1.ObjectMeta, looked bool)
	// OnChange has changed called with each namespace of which In would tell something else; "" is all.
	OnChange(changed func(namespace string))
}

var podCounts = promauto.With(metrics.Registry).NewGaugeVec(prometheus.GaugeOpts{
	Name: "latchkey_authpolicy_pods",
	Help: "Pods by state: in_step and behind are those with the policy's sidecar, by whether they have reported the bundle in force; outdated is how many of " +
		"them have another version of the sidecar than the manager's; missing are pods without the sidecar that they ask for.",
}, []string{"namespace", "name", "state"})

// forget drops the numbers of a policy that is gone.
func forget(policy types.NamespacedName) {
	podCounts.DeletePartialMatch(prometheus.Labels{"namespace": policy.Namespace, "name": policy.Name})
}

// podsSay is the source of what pods report, and of pods that have no sidecar.
func (r *Reconciler) podsSay(ctx context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
	r.Ledger.OnChange(func(policy types.NamespacedName) { queue.AddAfter(reconcile.Request{NamespacedName: policy}, settle) })
	r.Bare.OnChange(func(namespace string) {
		var policies v1alpha1.AuthPolicyList
		if r.Client.List(ctx, &policies, client.InNamespace(namespace)) != nil {
			return // the cache is gone: the manager is stopping
		}
		for i := range policies.Items {
			queue.Add(reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&policies.Items[i])})
		}
	})
	return nil
}

// reportPods says how the policy's pods are. What this process does not know yet stays as it was.
func (r *Reconciler) reportPods(policy *v1alpha1.AuthPolicy, seen *observed) {
	status := &policy.Status
	pods := governed(policy, seen.pods)
	status.Pods = int32(len(pods)) // #nosec G115 -- a namespace has fewer pods than that
	if inStep, known := r.inStep(pods, seen.written.document()); known {
		status.PodsInStep, status.PodsBehind = inStep, status.Pods-inStep
	}
	var outdated []string
	for _, pod := range pods {
		if image := sidecarImage(pod); otherVersion(image, r.SidecarImage) {
			outdated = append(outdated, pod.Name)
		}
	}
	slices.Sort(outdated)                      // the cache has no order, and the message must not change by itself
	status.PodsOutdated = int32(len(outdated)) // #nosec G115
	set(policy, v1alpha1.ConditionSidecarsCurrent, currency(outdated), r.Clock.Now())
	if bare, looked := r.Bare.In(policy.Namespace); looked {
		missing := lacking(policy, seen.siblings, bare)
		status.PodsMissing = int32(len(missing)) // #nosec G115
		set(policy, v1alpha1.ConditionPodsProtected, protection(missing), r.Clock.Now())
	}
	for state, n := range map[string]int32{
		"in_step": status.PodsInStep, "behind": status.PodsBehind, "outdated": status.PodsOutdated, "missing": status.PodsMissing,
	} {
		podCounts.WithLabelValues(policy.Namespace, policy.Name, state).Set(float64(n))
	}
}

// inStep counts the pods that say they have applied a bundle; known is false while one that could answer has not been asked.
func (r *Reconciler) inStep(pods []*corev1.Pod, document []byte) (count int32, known bool) {
	wanted := filetree.Hash(map[string][]byte{bundle.FileName: document})
	for _, pod := range pods {
		if !applied.CanAnswer(pod) {
			continue
		}
		hash, asked := r.Ledger.Bundle(pod)
		if !asked {
			return 0, false
		}
		if document != nil && hash == wanted {
			count++
		}
	}
	return count, true
}

// lacking names the pods that this policy would govern, had they the sidecar.
func lacking(policy *v1alpha1.AuthPolicy, siblings []v1alpha1.AuthPolicy, bare []metav1.ObjectMeta) []string {
	var names []string
	for i := range bare {
		if governing := inject.Governing(bare[i].Labels, siblings); governing != nil && governing.Name == policy.Name {
			names = append(names, bare[i].Name)
		}
	}
	return names
}

func protection(missing []string) problem {
	if len(missing) == 0 {
		return problem{v1alpha1.ReasonProtected, "no pod that asks for the sidecar is without"}
	}
	return problem{v1alpha1.ReasonSidecarMissing, fmt.Sprintf("%d that ask for the sidecar were made without it, and are not protected: %s; delete them to have them made anew",
		len(missing), some(missing))}
}

func currency(outdated []string) problem {
	if len(outdated) == 0 {
		return problem{v1alpha1.ReasonCurrent, "each sidecar is of the manager's version"}
	}
	return problem{v1alpha1.ReasonSidecarOutdated, fmt.Sprintf("%d have a sidecar of another version than the manager's: %s; restart their workloads to bring them this one",
		len(outdated), some(outdated))}
}

// some names as many as a reader wants to see.
func some(names []string) string {
	if len(names) <= mostNames {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:mostNames], ", "), len(names)-mostNames)
}

func sidecarImage(pod *corev1.Pod) string {
	for i := range pod.Spec.InitContainers {
		if pod.Spec.InitContainers[i].Name == v1alpha1.SidecarContainerName {
			return pod.Spec.InitContainers[i].Image
		}
	}
	return ""
}

// otherVersion says whether two images are of different versions, as far as their names tell: by digest where both have one, else by name and
// tag. Registry and path do not count, since clusters have mirrors and rewrite them.
func otherVersion(a, b string) bool {
	nameA, digestA, _ := strings.Cut(a, "@")
	nameB, digestB, _ := strings.Cut(b, "@")
	if digestA != "" && digestB != "" {
		return digestA != digestB
	}
	baseA, baseB := nameA[strings.LastIndex(nameA, "/")+1:], nameB[strings.LastIndex(nameB, "/")+1:]
	_, tagA, hasA := strings.Cut(baseA, ":")
	_, tagB, hasB := strings.Cut(baseB, ":")
	if hasA != hasB { // a webhook has put a digest in the tag's place
		return false
	}
	return tagA != tagB
}
