package tokenissuer

import (
	"cmp"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	applyapps "k8s.io/client-go/applyconfigurations/apps/v1"
	applycore "k8s.io/client-go/applyconfigurations/core/v1"
	applymeta "k8s.io/client-go/applyconfigurations/meta/v1"
	applynetworking "k8s.io/client-go/applyconfigurations/networking/v1"
	applypolicy "k8s.io/client-go/applyconfigurations/policy/v1"
	"k8s.io/utils/ptr"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/issuer/config"
	"github.com/latchkey-dev/latchkey/internal/sidecartoken"
	"github.com/latchkey-dev/latchkey/internal/tracing"
)

const (
	servicePort = 8443 // sign-in, refresh, sign-out, revocations; TLS
	adminPort   = 8081 // health, metrics, what is applied
	user        = 65532

	// leaveSeconds is how long a pod serves on after its end was decided: proxies of all nodes hear of it within a second or two.
	leaveSeconds = 5
)

// objectName is the name of everything that belongs to a TokenIssuer.
func objectName(issuer *v1alpha1.TokenIssuer) string { return issuer.Name + "-issuer" }

// sidecarsSecret holds the token by which the token service believes sidecars.
func sidecarsSecret(issuer *v1alpha1.TokenIssuer) string { return objectName(issuer) + "-sidecars" }

// host is the name that the serving certificate is for.
func host(issuer *v1alpha1.TokenIssuer) string {
	return fmt.Sprintf("%s.%s.svc", objectName(issuer), issuer.Namespace)
}

func renderConfig(issuer *v1alpha1.TokenIssuer, accounts Accounts) (*applycore.ConfigMapApplyConfiguration, error) {
	spec := issuer.Spec
	document, err := (&config.Config{
		Issuer:             spec.Issuer,
		Audiences:          spec.AccessToken.Audiences,
		Scopes:             spec.AccessToken.Scopes,
		AccessTokenTTL:     spec.AccessToken.TTL.Duration,
		IdleLifetime:       spec.RefreshToken.IdleLifetime.Duration,
		AbsoluteLifetime:   spec.RefreshToken.AbsoluteLifetime.Duration,
		ReuseWindow:        ptr.Deref(spec.RefreshToken.ReuseWindow, metav1.Duration{}).Duration, // the API server fills in the default
		Delivery:           config.Delivery(spec.RefreshToken.Delivery),
		MaxSessionsPerUser: int(spec.Sessions.MaxPerUser),
		OnLimit:            config.OnLimit(spec.Sessions.OnLimit),
		IPBinding:          config.IPBinding(spec.Sessions.IPBinding),
		Login:              renderLogin(issuer, accounts),
		Tracing:            renderTracing(spec.Tracing),
	}).Marshal()
	if err != nil {
		return nil, err
	}
	return applycore.ConfigMap(objectName(issuer), issuer.Namespace).
		WithLabels(labels(issuer)).
		WithData(map[string]string{config.File: string(document)}), nil
}

func renderTracing(asked *v1alpha1.Tracing) *tracing.Config {
	if asked == nil {
		return nil
	}
	return &tracing.Config{Endpoint: asked.Endpoint, SamplingPercent: ptr.Deref(asked.SamplingPercent, 0)} // the API server fills in the default
}

func renderLogin(issuer *v1alpha1.TokenIssuer, accounts Accounts) config.Login {
	spec := issuer.Spec.Login
	login := config.Login{Users: spec.UsersSecretRef != nil}
	if hook := spec.Webhook; hook != nil {
		login.Webhook = &config.Webhook{URL: hook.URL, CertificateAuthority: hook.CertificateAuthority, Timeout: hook.Timeout.Duration}
	}
	if len(spec.TrustedBackends) > 0 {
		login.Backends = &config.Backends{Issuer: accounts.Issuer, Keys: accounts.Keys}
		for _, account := range spec.TrustedBackends {
			login.Backends.Subjects = append(login.Backends.Subjects,
				fmt.Sprintf("system:serviceaccount:%s:%s", cmp.Or(account.Namespace, issuer.Namespace), account.Name))
		}
	}
	return login
}

// renderVolume asks for the volume with the session database, where that is a file. It goes when the TokenIssuer goes.
func renderVolume(issuer *v1alpha1.TokenIssuer) *applycore.PersistentVolumeClaimApplyConfiguration {
	spec := applycore.PersistentVolumeClaimSpec().
		WithAccessModes(corev1.ReadWriteOnce).
		WithResources(applycore.VolumeResourceRequirements().
			WithRequests(corev1.ResourceList{corev1.ResourceStorage: issuer.Spec.Store.SQLite.Size}))
	if class := issuer.Spec.Store.SQLite.StorageClassName; class != nil {
		spec.WithStorageClassName(*class)
	}
	return applycore.PersistentVolumeClaim(objectName(issuer), issuer.Namespace).WithLabels(labels(issuer)).WithSpec(spec)
}

func renderService(issuer *v1alpha1.TokenIssuer) *applycore.ServiceApplyConfiguration {
	spec := applycore.ServiceSpec().
		WithType(corev1.ServiceTypeClusterIP).
		WithSelector(selector(issuer)).
		WithPorts(applycore.ServicePort().
			WithName("https").
			WithProtocol(corev1.ProtocolTCP).
			WithPort(servicePort).
			WithTargetPort(intstr.FromInt32(servicePort)))
	if issuer.Spec.Replicas == 1 {
		// To leave out the only pod while it is not ready helps nobody, and a kubelet that restarts takes every pod for not ready until it has
		// probed it again.
		spec.WithPublishNotReadyAddresses(true)
	}
	return applycore.Service(objectName(issuer), issuer.Namespace).WithLabels(labels(issuer)).WithSpec(spec)
}

// renderBudget lets nodes be drained one pod at a time.
func renderBudget(issuer *v1alpha1.TokenIssuer) *applypolicy.PodDisruptionBudgetApplyConfiguration {
	return applypolicy.PodDisruptionBudget(objectName(issuer), issuer.Namespace).
		WithLabels(labels(issuer)).
		WithSpec(applypolicy.PodDisruptionBudgetSpec().
			WithMaxUnavailable(intstr.FromInt32(1)).
			WithSelector(applymeta.LabelSelector().WithMatchLabels(selector(issuer))))
}

// renderNetworkPolicy lets pods of the cluster reach the two ports, and nobody else: sidecars of any namespace, trusted backends and whoever reads the
// keys by themselves come to the one, the manager and whoever collects metrics to the other. It says nothing of what the token service may reach:
// stores, webhooks and collectors are told to it by name, which a NetworkPolicy cannot say. Another policy may let more in, as these add up.
func renderNetworkPolicy(issuer *v1alpha1.TokenIssuer) *applynetworking.NetworkPolicyApplyConfiguration {
	ingress := applynetworking.NetworkPolicyIngressRule().
		WithFrom(applynetworking.NetworkPolicyPeer().WithNamespaceSelector(applymeta.LabelSelector()))
	for _, port := range []int32{servicePort, adminPort} {
		ingress.WithPorts(applynetworking.NetworkPolicyPort().WithProtocol(corev1.ProtocolTCP).WithPort(intstr.FromInt32(port)))
	}
	return applynetworking.NetworkPolicy(objectName(issuer), issuer.Namespace).
		WithLabels(labels(issuer)).
		WithSpec(applynetworking.NetworkPolicySpec().
			WithPodSelector(applymeta.LabelSelector().WithMatchLabels(selector(issuer))).
			WithPolicyTypes(networkingv1.PolicyTypeIngress).
			WithIngress(ingress))
}

func renderDeployment(issuer *v1alpha1.TokenIssuer, image string) *applyapps.DeploymentApplyConfiguration {
	return applyapps.Deployment(objectName(issuer), issuer.Namespace).
		WithLabels(labels(issuer)).
		WithSpec(applyapps.DeploymentSpec().
			WithReplicas(issuer.Spec.Replicas).
			WithStrategy(renderStrategy(issuer)).
			WithSelector(applymeta.LabelSelector().WithMatchLabels(selector(issuer))).
			WithTemplate(applycore.PodTemplateSpec().
				WithLabels(labels(issuer)).
				WithLabels(selector(issuer)).
				WithLabels(map[string]string{
					v1alpha1.LabelPod: v1alpha1.LabelPodIssuer,
					// The token service is no app to be protected, not even in a namespace whose pods all are.
					v1alpha1.LabelInject: v1alpha1.LabelInjectDisabled,
				}).
				WithSpec(renderPod(issuer, image))))
}

// renderStrategy never runs two pods at a time on a file, which has one writer; elsewhere the next one serves before the last one goes.
func renderStrategy(issuer *v1alpha1.TokenIssuer) *applyapps.DeploymentStrategyApplyConfiguration {
	if issuer.Spec.Store.SQLite != nil {
		return applyapps.DeploymentStrategy().WithType(appsv1.RecreateDeploymentStrategyType)
	}
	return applyapps.DeploymentStrategy().
		WithType(appsv1.RollingUpdateDeploymentStrategyType).
		WithRollingUpdate(applyapps.RollingUpdateDeployment().WithMaxUnavailable(intstr.FromInt32(0)).WithMaxSurge(intstr.FromInt32(1)))
}

// mount is a volume of the pod and where the token service finds it. Their names begin with "latchkey-": by that the manager knows which
// volumes to bring up to date when what they show has changed.
type mount struct {
	flag   string
	path   string
	volume *applycore.VolumeApplyConfiguration
}

const (
	dataVolume  = "latchkey-data"
	storeVolume = "latchkey-store"

	// saltFile is nothing that the token service reads. The hash of the volume is on the admin port, for everybody in the cluster: with something random
	// in it, nobody can try passwords on it.
	saltFile = "salt"
)

func mounts(issuer *v1alpha1.TokenIssuer) []mount {
	all := []mount{
		{"--config", "/etc/latchkey/config", applycore.Volume().WithName("latchkey-config").
			WithConfigMap(applycore.ConfigMapVolumeSource().WithName(objectName(issuer)))},
		{"--ring", "/etc/latchkey/ring", secretVolume("latchkey-ring", issuer.Spec.SigningKeyRef.Name+"-signing")},
		{"--sidecars", "/etc/latchkey/sidecars", secretVolume("latchkey-sidecars", sidecarsSecret(issuer))},
		{"--tls", "/etc/latchkey/tls", secretVolume("latchkey-tls", objectName(issuer)+"-tls")},
	}
	if ref := issuer.Spec.Login.UsersSecretRef; ref != nil {
		all = append(all, mount{"--users", "/etc/latchkey/users", secretVolume("latchkey-users", ref.Name)})
	}
	if hook := issuer.Spec.Login.Webhook; hook != nil {
		all = append(all, mount{"--webhook", "/etc/latchkey/webhook", secretVolume("latchkey-webhook", hook.SecretRef.Name)})
	}
	switch store := issuer.Spec.Store; {
	case store.PostgreSQL != nil:
		return append(all, mount{"--postgresql", "/etc/latchkey/store", renderStore(issuer)})
	case store.Redis != nil:
		return append(all, mount{"--redis", "/etc/latchkey/store", renderStore(issuer)})
	default:
		return append(all, mount{"--data", "/var/lib/latchkey", renderStore(issuer)})
	}
}

// renderStore is the volume that sessions are on, or that says where they are.
func renderStore(issuer *v1alpha1.TokenIssuer) *applycore.VolumeApplyConfiguration {
	url, authority := storeSecrets(issuer)
	if url == nil {
		return applycore.Volume().WithName(dataVolume).
			WithPersistentVolumeClaim(applycore.PersistentVolumeClaimVolumeSource().WithClaimName(objectName(issuer)))
	}
	projected := applycore.ProjectedVolumeSource().WithDefaultMode(0o440).WithSources(showKey(url, config.StoreURLFile),
		showKey(&v1alpha1.SecretKeyRef{Name: sidecarsSecret(issuer), Key: sidecartoken.File}, saltFile))
	if authority != nil {
		projected.WithSources(showKey(authority, config.StoreAuthorityFile))
	}
	return applycore.Volume().WithName(storeVolume).WithProjected(projected)
}

// storeSecrets says which Secrets lead to a store elsewhere; both may be nil.
func storeSecrets(issuer *v1alpha1.TokenIssuer) (url, authority *v1alpha1.SecretKeyRef) {
	switch store := issuer.Spec.Store; {
	case store.PostgreSQL != nil:
		return &store.PostgreSQL.DSNSecretRef, store.PostgreSQL.CASecretRef
	case store.Redis != nil:
		return &store.Redis.URLSecretRef, store.Redis.CASecretRef
	default:
		return nil, nil
	}
}

// showKey shows one key of a Secret as a file.
func showKey(ref *v1alpha1.SecretKeyRef, file string) *applycore.VolumeProjectionApplyConfiguration {
	return applycore.VolumeProjection().WithSecret(applycore.SecretProjection().
		WithName(ref.Name).
		WithItems(applycore.KeyToPath().WithKey(ref.Key).WithPath(file)))
}

// renderPod meets the restricted Pod Security Standard and has no service-account token: the token service never calls the API server.
func renderPod(issuer *v1alpha1.TokenIssuer, image string) *applycore.PodSpecApplyConfiguration {
	var volumes []*applycore.VolumeApplyConfiguration
	for _, each := range mounts(issuer) {
		volumes = append(volumes, each.volume)
	}
	return applycore.PodSpec().
		WithAutomountServiceAccountToken(false).
		WithEnableServiceLinks(false).
		WithSecurityContext(applycore.PodSecurityContext().
			WithRunAsNonRoot(true).
			WithRunAsUser(user).
			WithRunAsGroup(user).
			WithFSGroup(user).
			WithSeccompProfile(applycore.SeccompProfile().WithType(corev1.SeccompProfileTypeRuntimeDefault))).
		WithContainers(renderContainer(issuer, image)).
		WithTopologySpreadConstraints(applycore.TopologySpreadConstraint().
			WithMaxSkew(1).
			WithTopologyKey(corev1.LabelHostname).
			WithWhenUnsatisfiable(corev1.ScheduleAnyway).
			WithLabelSelector(applymeta.LabelSelector().WithMatchLabels(selector(issuer)))).
		WithVolumes(volumes...)
}

func secretVolume(name, secret string) *applycore.VolumeApplyConfiguration {
	return applycore.Volume().WithName(name).
		WithSecret(applycore.SecretVolumeSource().WithSecretName(secret).WithDefaultMode(0o440))
}

func renderContainer(issuer *v1alpha1.TokenIssuer, image string) *applycore.ContainerApplyConfiguration {
	container := applycore.Container().
		WithName("issuer").
		WithImage(image).
		WithEnv(applycore.EnvVar().WithName("POD_IP").WithValueFrom(applycore.EnvVarSource().
			WithFieldRef(applycore.ObjectFieldSelector().WithFieldPath("status.podIP")))).
		// Collect garbage harder before the limit below ends the process.
		WithEnv(applycore.EnvVar().WithName("GOMEMLIMIT").WithValue("450MiB")).
		WithPorts(
			applycore.ContainerPort().WithName("https").WithContainerPort(servicePort).WithProtocol(corev1.ProtocolTCP),
			applycore.ContainerPort().WithName("admin").WithContainerPort(adminPort).WithProtocol(corev1.ProtocolTCP)).
		WithLivenessProbe(adminProbe("/healthz").WithPeriodSeconds(10).WithFailureThreshold(6)).
		WithReadinessProbe(adminProbe("/readyz").WithPeriodSeconds(2).WithFailureThreshold(2)).
		WithResources(applycore.ResourceRequirements().
			WithRequests(corev1.ResourceList{
				corev1.ResourceCPU:    resource.MustParse("20m"),
				corev1.ResourceMemory: resource.MustParse("64Mi"),
			}).
			// Each password check takes 20 MB; the token service bounds how many run at once.
			WithLimits(corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("512Mi")})).
		WithSecurityContext(applycore.SecurityContext().
			WithAllowPrivilegeEscalation(false).
			WithReadOnlyRootFilesystem(true).
			WithCapabilities(applycore.Capabilities().WithDrop("ALL")))
	for _, each := range mounts(issuer) {
		container.WithArgs(each.flag + "=" + each.path)
		mounted := applycore.VolumeMount().WithName(*each.volume.Name).WithMountPath(each.path)
		if *each.volume.Name != dataVolume {
			mounted.WithReadOnly(true)
		}
		container.WithVolumeMounts(mounted)
	}
	if url, _ := storeSecrets(issuer); url != nil {
		// Until everybody knows that the pod is going, some come to it still. With a file nobody could go elsewhere, so it goes at once.
		container.WithLifecycle(applycore.Lifecycle().WithPreStop(applycore.LifecycleHandler().
			WithSleep(applycore.SleepAction().WithSeconds(leaveSeconds))))
		container.WithArgs(fmt.Sprintf("--owner=%s/%s", issuer.Namespace, issuer.Name))
	}
	if issuer.Annotations[v1alpha1.AnnotationProfile] == v1alpha1.ProfileEnabled {
		container.WithArgs(fmt.Sprintf("--profile-address=127.0.0.1:%d", adminPort))
	}
	// The brackets are for clusters whose pods have IPv6 addresses; they do no harm around an IPv4 one.
	return container.WithArgs(
		fmt.Sprintf("--listen=[$(POD_IP)]:%d", servicePort),
		fmt.Sprintf("--admin-address=[$(POD_IP)]:%d", adminPort))
}

func adminProbe(path string) *applycore.ProbeApplyConfiguration {
	return applycore.Probe().
		WithTimeoutSeconds(2).
		WithHTTPGet(applycore.HTTPGetAction().WithPath(path).WithPort(intstr.FromInt32(adminPort)))
}

func selector(issuer *v1alpha1.TokenIssuer) map[string]string {
	return map[string]string{v1alpha1.LabelTokenIssuer: issuer.Name}
}

func labels(issuer *v1alpha1.TokenIssuer) map[string]string {
	return map[string]string{
		"app.kubernetes.io/name":     "latchkey-issuer",
		"app.kubernetes.io/instance": issuer.Name,
	}
}
