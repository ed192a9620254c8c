package inject

import (
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/probe"
)

// Sidecar is what to put into a pod.
type Sidecar struct {
	// Image of the sidecar.
	Image string
	// Policy is the name of the AuthPolicy that governs the pod.
	Policy string
	// Ports are the app's ports that the policy protects, at most 8.
	Ports []int32
	// Interception is InterceptionRedirect or InterceptionLoopback.
	Interception v1alpha1.Interception
	// HookSecret is a text that nobody can guess, of letters and digits: another for each pod.
	HookSecret string
}

// Pod returns the pod with the sidecar in front of its app. Injecting twice is the same as injecting once. A pod that the sidecar
// could not protect is refused: the error is an aggregate of *field.Error, one for each thing wrong with it. It quotes names and ports from
// the pod, never values that might be secret.
func Pod(pod *corev1.Pod, sidecar Sidecar) (*corev1.Pod, error) {
	out := pod.DeepCopy()
	earlier := takeOut(out)
	if earlier.secret != "" {
		sidecar.HookSecret = earlier.secret // the pod's hooks have it already
	}

	problems := refusals(out)
	if problem := admitLowPorts(out, sidecar); problem != nil {
		problems = append(problems, problem)
	}
	probes, unservable := redirectProbes(out, sidecar, earlier.probes)
	if problems = append(problems, unservable...); len(problems) > 0 {
		return nil, problems.ToAggregate()
	}
	delayEnd(out)

	ours := []corev1.Container{container(sidecar, out.Annotations[v1alpha1.AnnotationProfile] == v1alpha1.ProfileEnabled, probes)}
	if sidecar.Interception == v1alpha1.InterceptionRedirect {
		ours = append([]corev1.Container{redirector(sidecar)}, ours...)
	}
	out.Spec.InitContainers = slices.Insert(out.Spec.InitContainers, 0, ours...)
	out.Spec.Volumes = append(out.Spec.Volumes, volumes(sidecar.Policy)...)
	if out.Labels == nil {
		out.Labels = map[string]string{}
	}
	out.Labels[v1alpha1.LabelPod], out.Labels[v1alpha1.LabelPolicy] = v1alpha1.LabelPodSidecar, sidecar.Policy
	if out.Annotations == nil {
		out.Annotations = map[string]string{}
	}
	out.Annotations[v1alpha1.AnnotationInterception] = string(sidecar.Interception)
	return out, nil
}

// Injected reports whether a pod has the sidecar. It goes by the containers: anybody may label a pod, but nobody can put an init container into
// one that has been created.
func Injected(pod *corev1.Pod) bool { return slices.ContainsFunc(pod.Spec.InitContainers, isSidecar) }

// Trace returns as little of a pod's init containers as leaves Injected and Interception what they are, for a copy of the pod that may be judged again.
func Trace(pod *corev1.Pod) []corev1.Container {
	if !Injected(pod) {
		return nil
	}
	trace := []corev1.Container{{
		Name: v1alpha1.SidecarContainerName, RestartPolicy: ptr.To(corev1.ContainerRestartPolicyAlways), Args: []string{"--bundle=" + bundleDir},
	}}
	if Interception(pod) == v1alpha1.InterceptionRedirect {
		trace = append(trace, corev1.Container{Name: v1alpha1.RedirectContainerName, Command: []string{redirectProgram}})
	}
	return trace
}

// earlier is what only an earlier injection knows: the pod's own probes and hooks have been rewritten.
type earlier struct {
	probes map[string]string // --probe arguments, by what they are for, such as "app/readiness"
	secret string
}

// secretPattern is what a HookSecret looks like. A pod that brings another one gets a new one.
var secretPattern = regexp.MustCompile(`^[A-Za-z0-9]{16,64}$`)

// takeOut removes what an earlier injection put into the pod, and returns what is needed of it.
func takeOut(pod *corev1.Pod) earlier {
	pod.Spec.InitContainers = slices.DeleteFunc(pod.Spec.InitContainers, isRedirector)
	at := slices.IndexFunc(pod.Spec.InitContainers, isSidecar)
	if at < 0 {
		return earlier{}
	}
	before := earlier{probes: map[string]string{}}
	for _, argument := range pod.Spec.InitContainers[at].Args {
		if text, ok := strings.CutPrefix(argument, probeFlag); ok {
			name, target, _ := strings.Cut(text, "=")
			if _, err := probe.Parse(unliteral(target)); err == nil {
				before.probes[name] = argument
			}
		}
		if secret, ok := strings.CutPrefix(argument, secretFlag); ok && secretPattern.MatchString(secret) {
			before.secret = secret
		}
	}
	pod.Spec.InitContainers = slices.Delete(pod.Spec.InitContainers, at, at+1)
	pod.Spec.Volumes = slices.DeleteFunc(pod.Spec.Volumes, isOurs)
	return before
}
