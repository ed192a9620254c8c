package inject

import (
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/probe"
)

const (
	adminPort = 15020 // health, metrics, what is applied
	probePort = 15021 // the kubelet's probes of the app
	// The range that the sidecar keeps for itself, wider than what it uses today: AuthPolicy refuses it as well.
	firstOwnPort, lastOwnPort = 15020, 15029

	bundleDir = "/etc/latchkey/bundle"
	stateDir  = "/var/lib/latchkey"

	bundleVolume  = "latchkey-bundle"
	stateVolume   = "latchkey-state"
	noTokenVolume = "latchkey-no-token"

	// tokenDir is where Kubernetes mounts the pod's service-account token into every container that mounts nothing there.
	tokenDir = "/var/run/secrets/kubernetes.io/serviceaccount"

	user = 65532 // the "nonroot" user of the image

	loopback = "127.0.0.1,::1" // where the app may always listen
)

// container is a native sidecar: an init container that keeps running. It is up before the app starts, and gone after the app has ended.
// Fields that the API server would default are written out, so that what is injected is what is stored.
func container(sidecar Sidecar, profile bool, probes []string) corev1.Container {
	args := []string{"--bundle=" + bundleDir, "--state=" + stateDir, "--pod-ips=$(POD_IPS)"}
	if sidecar.Interception == v1alpha1.InterceptionRedirect {
		args = append(args, "--app-host="+loopback+",$(POD_IPS)")
	} else {
		args = append(args, "--app-host="+loopback, "--every-address")
	}
	args = append(args, intercepted(sidecar)...)
	args = append(args, "--admin-port="+strconv.Itoa(adminPort), "--probe-port="+strconv.Itoa(probePort), secretFlag+sidecar.HookSecret)
	if profile {
		args = append(args, "--profile")
	}
	args = append(args, probes...)

	return corev1.Container{
		Name:          v1alpha1.SidecarContainerName,
		Image:         sidecar.Image,
		Args:          args,
		RestartPolicy: ptr.To(corev1.ContainerRestartPolicyAlways),
		Env: []corev1.EnvVar{{
			Name: "POD_IPS",
			ValueFrom: &corev1.EnvVarSource{
				FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "status.podIPs"},
			},
		}, {
			Name: "GOMEMLIMIT", Value: "440MiB", // collect garbage harder before the limit below ends the process
		}},
		Ports: []corev1.ContainerPort{{Name: "latchkey-admin", ContainerPort: adminPort, Protocol: corev1.ProtocolTCP}},
		// Up means that it holds the app's ports; only then is the app started.
		StartupProbe: adminProbe("/healthz", 1, 60),
		// Ready means that it has a bundle, and that the app listens: until then it could only answer 503 or 502.
		ReadinessProbe: adminProbe("/readyz", 2, 3),
		// The kubelet calls it at once when the pod is deleted, while the app goes on: callers are sent elsewhere from then on.
		Lifecycle: &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{HTTPGet: redirected(question{kind: "preStop"}, probe.Sidecar+"/preStop", sidecar.HookSecret)}},
		Resources: corev1.ResourceRequirements{
			Requests: corev1.ResourceList{
				corev1.ResourceCPU:    resource.MustParse("10m"),
				corev1.ResourceMemory: resource.MustParse("32Mi"),
			},
			Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("512Mi")},
		},
		SecurityContext: &corev1.SecurityContext{
			RunAsNonRoot:             ptr.To(true),
			RunAsUser:                ptr.To(int64(user)),
			RunAsGroup:               ptr.To(int64(user)),
			Privileged:               ptr.To(false),
			AllowPrivilegeEscalation: ptr.To(false),
			ReadOnlyRootFilesystem:   ptr.To(true),
			Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
			SeccompProfile:           &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
		VolumeMounts: []corev1.VolumeMount{
			{Name: bundleVolume, MountPath: bundleDir, ReadOnly: true},
			{Name: stateVolume, MountPath: stateDir},
			// An empty directory in its place keeps the app's service-account token out of the sidecar, which reads what strangers send.
			{Name: noTokenVolume, MountPath: tokenDir, ReadOnly: true},
		},
	}
}

func adminProbe(path string, period, failures int32) *corev1.Probe {
	return &corev1.Probe{
		ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{
			Path: path, Port: intstr.FromInt32(adminPort), Scheme: corev1.URISchemeHTTP,
		}},
		PeriodSeconds: period, FailureThreshold: failures, SuccessThreshold: 1, TimeoutSeconds: 1,
	}
}

// volumes are what the sidecar mounts. The bundle comes in a ConfigMap, or in a Secret where it holds symmetric keys; whichever is
// there is projected. Both are optional, so that a pod that is created before its policy was rendered starts, answers 503, and serves as
// soon as the bundle appears.
func volumes(policy string) []corev1.Volume {
	bundle := corev1.LocalObjectReference{Name: policy + "-bundle"}
	return []corev1.Volume{
		{Name: bundleVolume, VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
			DefaultMode: ptr.To(corev1.ProjectedVolumeSourceDefaultMode),
			Sources: []corev1.VolumeProjection{
				{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: bundle, Optional: ptr.To(true)}},
				{Secret: &corev1.SecretProjection{LocalObjectReference: bundle, Optional: ptr.To(true)}},
			},
		}}},
		// A full set of revocations takes about 10 MB, and is there twice while it is replaced. A pod beyond the limit is evicted.
		{Name: stateVolume, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{
			SizeLimit: ptr.To(resource.MustParse("64Mi")),
		}}},
		{Name: noTokenVolume, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{
			SizeLimit: ptr.To(resource.MustParse("1Mi")),
		}}},
	}
}

// isSidecar reports whether an init container is one that this package injected, now or in an earlier release.
func isSidecar(c corev1.Container) bool {
	return c.Name == v1alpha1.SidecarContainerName &&
		ptr.Deref(c.RestartPolicy, "") == corev1.ContainerRestartPolicyAlways &&
		slices.Contains(c.Args, "--bundle="+bundleDir)
}

func isOurs(v corev1.Volume) bool { return reservedVolume(v.Name) }

func reservedVolume(name string) bool {
	return name == bundleVolume || name == stateVolume || name == noTokenVolume
}
