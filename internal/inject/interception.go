package inject

import (
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

// firstRedirected is where the sidecar awaits callers of the app's first port. There is a port of its own for each that an AuthPolicy may list.
const firstRedirected = 15022

// redirectProgram is the file in the sidecar's image.
const redirectProgram = "/latchkey-redirect"

// intercepted are the arguments by which sidecar and redirector agree on ports, in order.
func intercepted(sidecar Sidecar) []string {
	var args []string
	for i, port := range slices.Sorted(slices.Values(sidecar.Ports)) {
		arg := "--port=" + strconv.Itoa(int(port))
		if sidecar.Interception == v1alpha1.InterceptionRedirect {
			arg += ":" + strconv.Itoa(firstRedirected+i)
		}
		args = append(args, arg)
	}
	return args
}

// redirector is the init container that has the pod's kernel bring callers to the sidecar. Without root the kernel would give its process no
// capability; it has the one that it needs, for the moment that it runs, before anything of the app.
func redirector(sidecar Sidecar) corev1.Container {
	return corev1.Container{
		Name:    v1alpha1.RedirectContainerName,
		Image:   sidecar.Image,
		Command: []string{redirectProgram},
		Args:    intercepted(sidecar),
		Resources: corev1.ResourceRequirements{
			Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("10m"), corev1.ResourceMemory: resource.MustParse("16Mi")},
			Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("64Mi")},
		},
		SecurityContext: &corev1.SecurityContext{
			RunAsNonRoot:             ptr.To(false),
			RunAsUser:                ptr.To(int64(0)),
			RunAsGroup:               ptr.To(int64(0)),
			Privileged:               ptr.To(false),
			AllowPrivilegeEscalation: ptr.To(false),
			ReadOnlyRootFilesystem:   ptr.To(true),
			Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}, Add: []corev1.Capability{"NET_ADMIN"}},
			SeccompProfile:           &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
		VolumeMounts: []corev1.VolumeMount{{Name: noTokenVolume, MountPath: tokenDir, ReadOnly: true}},
	}
}

func isRedirector(c corev1.Container) bool {
	return c.Name == v1alpha1.RedirectContainerName && slices.Equal(c.Command, []string{redirectProgram})
}

// Interception returns how callers of a pod get to its sidecar; "" when it has none. It goes by the containers, which nobody can change.
func Interception(pod *corev1.Pod) v1alpha1.Interception {
	switch {
	case !Injected(pod):
		return ""
	case slices.ContainsFunc(pod.Spec.InitContainers, isRedirector):
		return v1alpha1.InterceptionRedirect
	}
	return v1alpha1.InterceptionLoopback
}

// unprivilegedPorts lets processes without capabilities listen on ports below 1024. It is among those that even the restricted standard admits.
const unprivilegedPorts = "net.ipv4.ip_unprivileged_port_start"

// admitLowPorts has the pod's kernel let the sidecar listen on the app's ports, where it must do so itself and they are low.
func admitLowPorts(pod *corev1.Pod, sidecar Sidecar) *field.Error {
	const firstUnprivileged = 1024
	lowest := slices.Min(append([]int32{firstUnprivileged}, sidecar.Ports...))
	if sidecar.Interception != v1alpha1.InterceptionLoopback || lowest == firstUnprivileged {
		return nil
	}
	if pod.Spec.SecurityContext == nil {
		pod.Spec.SecurityContext = &corev1.PodSecurityContext{}
	}
	sysctls := &pod.Spec.SecurityContext.Sysctls
	i := slices.IndexFunc(*sysctls, func(s corev1.Sysctl) bool { return s.Name == unprivilegedPorts })
	if i < 0 {
		*sysctls = append(*sysctls, corev1.Sysctl{Name: unprivilegedPorts, Value: "0"})
		return nil
	}
	if from, err := strconv.ParseInt(strings.TrimSpace((*sysctls)[i].Value), 10, 32); err != nil || from > int64(lowest) {
		return field.Forbidden(field.NewPath("spec", "securityContext", "sysctls").Index(i).Child("value"),
			"the sidecar has to listen on port "+strconv.Itoa(int(lowest))+": make it no more than that")
	}
	return nil
}
