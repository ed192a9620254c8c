package authpolicy

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/bundle"
	"github.com/latchkey-dev/latchkey/internal/filetree"
	"github.com/latchkey-dev/latchkey/internal/owned"
	"github.com/latchkey-dev/latchkey/internal/policyspec"
	"github.com/latchkey-dev/latchkey/internal/transition"
)

// report writes the status, if it has changed.
func (r *Reconciler) report(ctx context.Context, policy *v1alpha1.AuthPolicy, seen *observed, problems []problem, applied error) (reconcile.Result, error) {
	if applied != nil && owned.Refusal(applied) == "" {
		return owned.Again(applied)
	}
	before := policy.Status.DeepCopy()
	status := &policy.Status
	status.Revision = revision(seen.written.document())
	accepted := acceptance(policy, seen, problems)
	set(policy, v1alpha1.ConditionAccepted, accepted, r.Clock.Now())
	set(policy, v1alpha1.ConditionReady, readiness(accepted, status.Revision, seen.lastGood, problems, applied), r.Clock.Now())
	switch healthy, unsure := health(policy.Spec, seen.sources); {
	case unsure:
	case healthy == nil:
		meta.RemoveStatusCondition(&status.Conditions, v1alpha1.ConditionIssuersHealthy)
	default:
		set(policy, v1alpha1.ConditionIssuersHealthy, *healthy, r.Clock.Now())
	}
	if way := interception(policy, seen.pods); way == nil {
		meta.RemoveStatusCondition(&status.Conditions, v1alpha1.ConditionIntercepted)
	} else {
		set(policy, v1alpha1.ConditionIntercepted, *way, r.Clock.Now())
	}
	look := reportCertificate(policy, seen.inForce, r.Clock.Now())
	if len(problems) == 0 { // else the condition goes on to speak of the generation whose bundle is in force
		set(policy, v1alpha1.ConditionWarningFree, caution(policy.Spec), r.Clock.Now())
	}
	r.reportPods(policy, seen)
	if !equality.Semantic.DeepEqual(before, status) {
		if err := r.Client.Status().Update(ctx, policy); err != nil {
			return owned.Again(fmt.Errorf("write the status: %w", err))
		}
		transition.Tell(ctx, r.Events, policy, before.Conditions, status.Conditions)
	}
	if applied == nil {
		return reconcile.Result{RequeueAfter: look}, nil
	}
	return owned.Again(applied)
}

// acceptance says whether the policy makes sense, finds what it refers to, and gets the pods that it selects.
func acceptance(policy *v1alpha1.AuthPolicy, seen *observed, problems []problem) problem {
	if _, err := metav1.LabelSelectorAsSelector(&policy.Spec.Selector); err != nil {
		problems = append(slices.Clone(problems), problem{v1alpha1.ReasonInvalid, fmt.Sprintf("selector: %v", err)})
	}
	if len(problems) > 0 {
		return joined(problems)
	}
	if other := overshadowing(policy, seen.siblings, seen.disputed); other != nil {
		return problem{v1alpha1.ReasonConflicted, fmt.Sprintf("AuthPolicy %q is older and selects some of the same pods: it governs those of them that are created from now on", other.Name)}
	}
	return problem{v1alpha1.ReasonAccepted, "the policy compiles and its references are there"}
}

// readiness says whether the bundle that is in force is the one that the policy asks for. Its reason is the one that decides: what is not
// accepted comes first. A conflict is none of the bundle's.
func readiness(accepted problem, revision string, last *lastGood, problems []problem, applied error) problem {
	fine := accepted.reason == v1alpha1.ReasonAccepted || accepted.reason == v1alpha1.ReasonConflicted
	switch {
	case fine && applied != nil:
		return problem{owned.Refusal(applied), applied.Error()}
	case fine:
		return problem{v1alpha1.ReasonReady, "the bundle is written for the pods to read"}
	case applied != nil:
		return problem{accepted.reason, fmt.Sprintf("see Accepted; and %v", applied)}
	case len(problems) == 0:
		return problem{accepted.reason, "the bundle is written, but the policy selects no pods: see Accepted"}
	case revision != "":
		return problem{accepted.reason, fmt.Sprintf("the last good bundle, %s, stays in force, %s: see Accepted", revision, last.age())}
	default:
		return problem{accepted.reason, "there is no bundle yet, so pods answer 503: see Accepted"}
	}
}

// caution is what a policy that compiles may not mean. The first warning gives the reason.
func caution(spec v1alpha1.AuthPolicySpec) problem {
	warnings := policyspec.Warnings(spec)
	if len(warnings) == 0 {
		return problem{v1alpha1.ReasonNoWarnings, "nothing looks like a mistake"}
	}
	var messages []string
	for _, warning := range warnings {
		messages = append(messages, warning.String())
	}
	return problem{string(warnings[0].Reason), listed(messages)}
}

// joined puts several problems into one condition. What only an edit of this policy can mend comes before what may mend itself.
func joined(problems []problem) problem {
	all := problem{reason: problems[0].reason}
	for _, reason := range []string{v1alpha1.ReasonRefNotReady, v1alpha1.ReasonRefNotFound, v1alpha1.ReasonRefNotPermitted, v1alpha1.ReasonInvalid} {
		if slices.ContainsFunc(problems, func(p problem) bool { return p.reason == reason }) {
			all.reason = reason
		}
	}
	var messages []string
	for _, p := range problems {
		messages = append(messages, strings.Split(p.message, "\n")...)
	}
	all.message = listed(messages)
	return all
}

// listed puts messages into one that a condition can hold. Those that do not fit are counted.
func listed(messages []string) string {
	const most = 32 << 10
	if all := strings.Join(messages, "; "); len(all) <= most {
		return all
	}
	const room = most - len(" ...; ... and 1000000 more")
	all := messages[0]
	if len(all) > room {
		all = strings.ToValidUTF8(all[:room], "") + " ..."
	}
	for i, message := range messages[1:] {
		if len(all)+len("; ")+len(message) > room {
			return fmt.Sprintf("%s; ... and %d more", all, len(messages)-1-i)
		}
		all += "; " + message
	}
	return all
}

// revision names a bundle, in the way of sidecars but shorter; "" is that of no bundle.
func revision(document []byte) string {
	if document == nil {
		return ""
	}
	return filetree.Hash(map[string][]byte{bundle.FileName: document})[:12]
}

func set(policy *v1alpha1.AuthPolicy, condition string, p problem, now time.Time) {
	status := metav1.ConditionFalse
	switch p.reason {
	case v1alpha1.ReasonAccepted, v1alpha1.ReasonReady, v1alpha1.ReasonHealthy, v1alpha1.ReasonNoWarnings, v1alpha1.ReasonProtected, v1alpha1.ReasonCurrent,
		v1alpha1.ReasonRedirected, v1alpha1.ReasonLoopbackOnly:
		status = metav1.ConditionTrue
	}
	meta.SetStatusCondition(&policy.Status.Conditions, metav1.Condition{
		Type: condition, Status: status, Reason: p.reason, Message: listed([]string{p.message}),
		ObservedGeneration: policy.Generation, LastTransitionTime: metav1.NewTime(now),
	})
}
