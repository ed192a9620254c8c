package inject

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

// Sidecar is what to put into a pod.
type Sidecar struct {
	// Image of the sidecar.
	Image string
	// Policy is the name of the AuthPolicy that governs the pod.
	Policy string
	// Ports are the app's ports that the policy protects.
	Ports []int32
}

// Pod returns the pod with the sidecar in front of its app. Injecting twice is the same as injecting once. A pod that the sidecar
// could not protect is refused: the error is an aggregate of *field.Error, one for each thing wrong with it. It quotes names and ports from
// the pod, never values that might be secret.
func Pod(pod *corev1.Pod, sidecar Sidecar) (*corev1.Pod, error) {
	out := pod.DeepCopy()
	earlier := takeOut(out)

	problems := refusals(out, sidecar)
	probes, unservable := redirectProbes(out, sidecar, earlier)
	if problems = append(problems, unservable...); len(problems) > 0 {
		return nil, problems.ToAggregate()
	}

	out.Spec.InitContainers = slices.Insert(out.Spec.InitContainers, 0, container(sidecar, probes))
	out.Spec.Volumes = append(out.Spec.Volumes, volumes(sidecar.Policy)...)
	if out.Labels == nil {
		out.Labels = map[string]string{}
	}
	out.Labels[v1alpha1.LabelPod], out.Labels[v1alpha1.LabelPolicy] = v1alpha1.LabelPodSidecar, sidecar.Policy
	return out, nil
}

// Injected reports whether a pod has the sidecar. It goes by the containers: anybody may label a pod, but nobody can put an init container into
// one that has been created.
func Injected(pod *corev1.Pod) bool { return slices.ContainsFunc(pod.Spec.InitContainers, isSidecar) }

// Trace returns as little of a pod's init containers as leaves Injected true where it is, for a copy of the pod that may be judged again.
func Trace(pod *corev1.Pod) []corev1.Container {
	if !Injected(pod) {
		return nil
	}
	return []corev1.Container{{
		Name: v1alpha1.SidecarContainerName, RestartPolicy: ptr.To(corev1.ContainerRestartPolicyAlways), Args: []string{"--bundle=" + bundleDir},
	}}
}

// takeOut removes what an earlier injection put into the pod. It returns that sidecar's --probe arguments, by what they are for, such
// as "app/readiness": the pod's own probes have been rewritten, so nothing else remembers where they pointed.
func takeOut(pod *corev1.Pod) map[string]string {
	at := slices.IndexFunc(pod.Spec.InitContainers, isSidecar)
	if at < 0 {
		return nil
	}
	probes := map[string]string{}
	for _, argument := range pod.Spec.InitContainers[at].Args {
		probe, isProbe := strings.CutPrefix(argument, probeFlag)
		if name, target, ok := strings.Cut(probe, "="); isProbe && ok && strings.HasPrefix(target, "http://"+appHost+":") {
			probes[name] = argument
		}
	}
	pod.Spec.InitContainers = slices.Delete(pod.Spec.InitContainers, at, at+1)
	pod.Spec.Volumes = slices.DeleteFunc(pod.Spec.Volumes, isOurs)
	return probes
}
