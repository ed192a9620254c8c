package inject

import (
	"fmt"
	"iter"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

// withoutSidecar is the way out that every refusal may offer.
const withoutSidecar = "label the pod " + v1alpha1.LabelInject + "=" + v1alpha1.LabelInjectDisabled + " to run it without the sidecar"

// refusals lists why the sidecar could not protect the pod; probes are judged where they are rewritten.
func refusals(pod *corev1.Pod) field.ErrorList {
	var problems field.ErrorList
	forbid := func(path *field.Path, format string, args ...any) {
		problems = append(problems, field.Forbidden(path, fmt.Sprintf(format, args...)))
	}
	spec := field.NewPath("spec")

	if value, asked := pod.Annotations[v1alpha1.AnnotationProfile]; asked && value != v1alpha1.ProfileEnabled {
		forbid(field.NewPath("metadata", "annotations").Key(v1alpha1.AnnotationProfile), "must be %q, or not be there", v1alpha1.ProfileEnabled)
	}
	if pod.Spec.HostNetwork {
		forbid(spec.Child("hostNetwork"), "the sidecar would take ports of the node itself; remove it, or %s", withoutSidecar)
	}
	if pod.Spec.OS != nil && pod.Spec.OS.Name == corev1.Windows {
		forbid(spec.Child("os", "name"), "the sidecar runs on Linux alone; %s", withoutSidecar)
	}
	for i, volume := range pod.Spec.Volumes {
		if reservedVolume(volume.Name) {
			forbid(spec.Child("volumes").Index(i).Child("name"), "%q is the sidecar's own; choose another name", volume.Name)
		}
	}
	for path, c := range containers(pod) {
		if c.Name == v1alpha1.SidecarContainerName || c.Name == v1alpha1.RedirectContainerName {
			forbid(path.Child("name"), "%q is the sidecar's own; choose another name", c.Name)
		}
		for i, port := range c.Ports {
			if ownPort(port.ContainerPort) {
				forbid(path.Child("ports").Index(i).Child("containerPort"), "ports %d to %d are the sidecar's own; move the app to another",
					firstOwnPort, lastOwnPort)
			}
		}
		for i, mount := range c.VolumeMounts {
			if reservedVolume(mount.Name) {
				forbid(path.Child("volumeMounts").Index(i).Child("name"), "%q belongs to the sidecar alone", mount.Name)
			}
		}
	}
	return problems
}

// containers goes through all containers that the kubelet starts by itself, with their paths. What it yields may be changed in place.
func containers(pod *corev1.Pod) iter.Seq2[*field.Path, *corev1.Container] {
	return func(yield func(*field.Path, *corev1.Container) bool) {
		for i := range pod.Spec.InitContainers {
			if !yield(field.NewPath("spec", "initContainers").Index(i), &pod.Spec.InitContainers[i]) {
				return
			}
		}
		for i := range pod.Spec.Containers {
			if !yield(field.NewPath("spec", "containers").Index(i), &pod.Spec.Containers[i]) {
				return
			}
		}
	}
}

func ownPort(port int32) bool { return port >= firstOwnPort && port <= lastOwnPort }
