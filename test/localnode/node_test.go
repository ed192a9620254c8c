package localnode

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func TestAPodRunsAsItsObjectPrescribes(t *testing.T) {
	f := newFixture(t)
	f.create(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "settings"}, Data: map[string]string{"colour": "green"}})
	f.create(podOf("web", func(spec *corev1.PodSpec) {
		app := &spec.Containers[0]
		app.Args = append(app.Args, "/etc/settings", "http://127.0.0.1:8080/$(PLAIN)", "$$(PLAIN)")
		app.Env = append(app.Env,
			corev1.EnvVar{Name: "PLAIN", Value: "word"},
			corev1.EnvVar{Name: "JOINED", Value: "$(PLAIN)s and $(UNKNOWN) at /etc/settings/colour"},
			corev1.EnvVar{Name: "NAMESPACE", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.namespace"}}},
		)
		app.VolumeMounts = []corev1.VolumeMount{{Name: "settings", MountPath: "/etc/settings"}}
		spec.Volumes = []corev1.Volume{{Name: "settings", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
			LocalObjectReference: corev1.LocalObjectReference{Name: "settings"},
		}}}}
	}))
	pod := f.ready("web")

	got := f.world(pod.Status.PodIP + ":8080")
	dir := got.Args[1]
	loopback := strings.Replace(pod.Status.PodIP, "127.77.", "127.78.", 1)
	want := world{
		Args: []string{"--listen=" + pod.Status.PodIP + ":8080", dir, "http://" + loopback + ":8080/word", "$(PLAIN)"},
		Env:  map[string]string{"PLAIN": "word", "JOINED": "words and $(UNKNOWN) at " + dir + "/colour", "POD_IP": pod.Status.PodIP, "NAMESPACE": f.namespace},
		Pod:  "web",
	}
	got.PID, got.Started = 0, time.Time{}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("the container's world (-got +want):\n%s", diff)
	}
	if _, body := f.get(pod.Status.PodIP+":8080", "/file?name=colour"); body != "green" {
		t.Errorf("the mounted file holds %q, want green", body)
	}
	if got, want := f.podLog("web", "app"), "serving on "+pod.Status.PodIP+":8080\n"; got != want {
		t.Errorf("log, by way of the API server, is %q, want %q", got, want)
	}
	if got, want := pod.Spec.NodeName, nodeName; got != want {
		t.Errorf("node is %q, want %q", got, want)
	}
}

func TestANativeSidecarIsUpBeforeTheAppAndOutlivesIt(t *testing.T) {
	f := newFixture(t)
	probe := func(port int32) *corev1.Probe {
		return &corev1.Probe{PeriodSeconds: 1, ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/healthz", Port: intstr.FromInt32(port)}}}
	}
	f.create(podOf("web", func(spec *corev1.PodSpec) {
		spec.RestartPolicy = corev1.RestartPolicyOnFailure
		spec.InitContainers = []corev1.Container{{
			Name: "sidecar", Image: image, Args: []string{"--listen=$(POD_IP):9000"}, Env: []corev1.EnvVar{asProgram, podIP},
			RestartPolicy: new(corev1.ContainerRestartPolicyAlways), StartupProbe: probe(9000),
		}, {
			Name: "migrate", Image: image, Args: []string{"--exit=0"}, Env: []corev1.EnvVar{asProgram},
		}}
		spec.Containers[0].ReadinessProbe = probe(8080)
	}))
	pod := f.ready("web")
	sidecar, app := f.world(pod.Status.PodIP+":9000"), f.world(pod.Status.PodIP+":8080")
	if !sidecar.Started.Before(app.Started) {
		t.Errorf("sidecar started at %v, want before the app's %v", sidecar.Started, app.Started)
	}

	if err := syscall.Kill(sidecar.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	f.eventually("the sidecar is started again", func() error {
		if again := f.world(pod.Status.PodIP + ":9000"); again.PID == sidecar.PID {
			return errors.New("it still runs")
		}
		return nil
	})
	pod = f.ready("web")
	if got, want := pod.Status.InitContainerStatuses[0].RestartCount, int32(1); got != want {
		t.Errorf("sidecar was restarted %d times, want %d", got, want)
	}
	if got, want := f.world(pod.Status.PodIP+":8080").PID, app.PID; got != want {
		t.Errorf("app has process %d, want %d still", got, want)
	}
}

func TestAPodSaysWhatItWaitsForAndStartsWhenItComes(t *testing.T) {
	f := newFixture(t)
	f.create(podOf("web", func(spec *corev1.PodSpec) {
		spec.Volumes = []corev1.Volume{{Name: "all", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
			{Secret: &corev1.SecretProjection{LocalObjectReference: corev1.LocalObjectReference{Name: "later"}}},
			{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: corev1.LocalObjectReference{Name: "never"}, Optional: new(true)}},
		}}}}}
		spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "all", MountPath: "/all"}}
		spec.Containers[0].Args = append(spec.Containers[0].Args, "/all")
	}))
	f.eventually("the pod says what is missing", func() error {
		var pod corev1.Pod
		if err := f.Get(t.Context(), client.ObjectKey{Namespace: f.namespace, Name: "web"}, &pod); err != nil {
			return err
		}
		if got, want := Trouble(&pod), "container app: CreateContainerError: Secret later is not there yet"; got != want {
			return fmt.Errorf("it says %q, want %q", got, want)
		}
		return nil
	})
	f.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "later"}, Data: map[string][]byte{"word": []byte("open sesame")}})
	pod := f.ready("web")
	f.world(pod.Status.PodIP + ":8080")
	if _, body := f.get(pod.Status.PodIP+":8080", "/file?name=word"); body != "open sesame" {
		t.Errorf("the file holds %q, want the Secret's word", body)
	}
}

func TestWhatIsNotPlayedIsRefusedByName(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*corev1.PodSpec)
		want   string
	}{
		{"an image without a program", func(spec *corev1.PodSpec) { spec.Containers[0].Image = "nginx" }, "image nginx: this node has no program for it"},
		{"a host path", func(spec *corev1.PodSpec) {
			spec.Volumes = []corev1.Volume{{Name: "host", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/"}}}}
		}, "volume host: this kind of volume is not played by this node"},
		{"an exec probe", func(spec *corev1.PodSpec) {
			spec.Containers[0].LivenessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"true"}}}}
		}, "of the kinds of probe only httpGet and tcpSocket are played by this node"},
		{"the host's network", func(spec *corev1.PodSpec) { spec.HostNetwork = true }, "hostNetwork is not played by this node"},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFixture(t)
			f.create(podOf("web", test.change))
			f.eventually("the pod says what is refused", func() error {
				var pod corev1.Pod
				if err := f.Get(t.Context(), client.ObjectKey{Namespace: f.namespace, Name: "web"}, &pod); err != nil {
					return err
				}
				if got := Trouble(&pod); !strings.Contains(got, test.want) {
					return fmt.Errorf("it says %q, want %q", got, test.want)
				}
				return nil
			})
		})
	}
}

func TestAPokeRefreshesVolumesAndNothingIsRestarted(t *testing.T) {
	f := newFixture(t)
	settings := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "settings"}, Data: map[string]string{"colour": "green"}}
	f.create(settings)
	f.create(podOf("web", func(spec *corev1.PodSpec) {
		spec.Volumes = []corev1.Volume{{Name: "settings", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
			LocalObjectReference: corev1.LocalObjectReference{Name: "settings"},
		}}}}
		spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "settings", MountPath: "/settings"}}
		spec.Containers[0].Args = append(spec.Containers[0].Args, "/settings")
	}))
	pod := f.ready("web")
	before := f.world(pod.Status.PodIP + ":8080").PID

	settings.Data = map[string]string{"colour": "red", "size": "large"}
	if err := f.Update(t.Context(), settings); err != nil {
		t.Fatal(err)
	}
	poke := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"annotations":{"example.com/poke":"1"}}}`))
	if err := f.Patch(t.Context(), pod, poke); err != nil {
		t.Fatal(err)
	}
	f.eventually("the new files are there", func() error {
		_, colour := f.get(pod.Status.PodIP+":8080", "/file?name=colour")
		_, size := f.get(pod.Status.PodIP+":8080", "/file?name=size")
		if got, want := colour+" "+size, "red large"; got != want {
			return fmt.Errorf("got %q, want %q", got, want)
		}
		return nil
	})
	if got, want := f.world(pod.Status.PodIP+":8080").PID, before; got != want {
		t.Errorf("process is %d, want %d still", got, want)
	}
}

func TestAServiceReachesReadyPodsAndAClaimOutlivesThem(t *testing.T) {
	f := newFixture(t)
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: "data"}, Spec: corev1.PersistentVolumeClaimSpec{
		AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
		Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
	}}
	f.create(claim)
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "web"}, Spec: corev1.ServiceSpec{
		Selector: map[string]string{"app": "web"},
		Ports:    []corev1.ServicePort{{Port: 18080, TargetPort: intstr.FromString("http")}},
	}}
	f.create(service)
	address := service.Spec.ClusterIP + ":18080"
	f.eventually("the Service refuses while nothing is behind it", func() error {
		if _, body := f.get(address, "/world"); !strings.Contains(body, "reset") && !strings.Contains(body, "EOF") {
			return errors.New(body)
		}
		return nil
	})

	pod := podOf("web", func(spec *corev1.PodSpec) {
		spec.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data"}}}}
		spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "data", MountPath: "/data"}}
		spec.Containers[0].Args = append(spec.Containers[0].Args, "/data")
	})
	deployment := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "web"}, Spec: appsv1.DeploymentSpec{
		Selector: &metav1.LabelSelector{MatchLabels: pod.Labels},
		Strategy: appsv1.DeploymentStrategy{Type: appsv1.RecreateDeploymentStrategyType},
		Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: pod.Labels}, Spec: pod.Spec},
	}}
	f.create(deployment)
	first := f.world(address)
	request, err := http.NewRequest(http.MethodPut, "http://"+address+"/file?name=note", strings.NewReader("kept"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := http.DefaultClient.Do(request); err != nil {
		t.Fatal(err)
	}

	restart := client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"template":{"metadata":{"annotations":{"restarted":"now"}}}}}`))
	if err := f.Patch(t.Context(), deployment, restart); err != nil {
		t.Fatal(err)
	}
	f.eventually("a new template replaces the pod", func() error {
		if got := f.world(address).Pod; got == first.Pod {
			return fmt.Errorf("pod is still %s", got)
		}
		return nil
	})
	if _, body := f.get(address, "/file?name=note"); body != "kept" {
		t.Errorf("the claim holds %q, want what the first pod wrote", body)
	}
	f.eventually("the Deployment's status tells", func() error {
		if err := f.Get(t.Context(), client.ObjectKeyFromObject(deployment), deployment); err != nil {
			return err
		}
		got := []int32{deployment.Status.Replicas, deployment.Status.UpdatedReplicas, deployment.Status.ReadyReplicas, deployment.Status.UnavailableReplicas}
		if diff := cmp.Diff(got, []int32{1, 1, 1, 0}); diff != "" {
			return errors.New(diff)
		}
		return nil
	})

	if err := f.Delete(t.Context(), claim); err != nil {
		t.Fatal(err)
	}
	if _, body := f.get(address, "/file?name=note"); body != "kept" {
		t.Errorf("the claim, deleted but in use, holds %q, want it untouched", body)
	}

	second := f.world(address).PID
	if err := f.Delete(t.Context(), deployment); err != nil {
		t.Fatal(err)
	}
	f.eventually("what a deleted Deployment owned goes with it", func() error {
		var pods corev1.PodList
		if err := f.List(t.Context(), &pods, client.InNamespace(f.namespace)); err != nil {
			return err
		}
		if len(pods.Items) > 0 {
			return fmt.Errorf("%d pods are left", len(pods.Items))
		}
		return nil
	})
	if err := syscall.Kill(second, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("process %d: %v, want it gone", second, err)
	}
	f.eventually("a deleted claim goes when nobody uses it any more", func() error {
		if err := f.Get(t.Context(), client.ObjectKeyFromObject(claim), claim); !apierrors.IsNotFound(err) {
			return errors.Join(errors.New("it is still there"), err)
		}
		return nil
	})
}

func TestAPodThatIsRelabelledRunsOnAndAnotherTakesItsPlace(t *testing.T) {
	f := newFixture(t)
	pod := podOf("web")
	f.create(&appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "web"}, Spec: appsv1.DeploymentSpec{
		Selector: &metav1.LabelSelector{MatchLabels: pod.Labels},
		Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: pod.Labels}, Spec: pod.Spec},
	}})
	ready := func(labels client.MatchingLabels) (pod corev1.Pod, err error) {
		var pods corev1.PodList
		if err := f.List(t.Context(), &pods, client.InNamespace(f.namespace), labels); err != nil {
			return pod, err
		}
		if len(pods.Items) != 1 || !Ready(&pods.Items[0]) {
			return pod, fmt.Errorf("there are %d pods of %v, want one that is ready", len(pods.Items), labels)
		}
		return pods.Items[0], nil
	}
	var first, second corev1.Pod
	f.eventually("the Deployment makes a pod", func() (err error) {
		first, err = ready(pod.Labels)
		return err
	})
	process := f.world(first.Status.PodIP + ":8080").PID

	aside := client.MatchingLabels{"app": "set-aside"}
	if err := f.Patch(t.Context(), &first, client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"labels":{"app":"set-aside"}}}`))); err != nil {
		t.Fatal(err)
	}
	f.eventually("the Deployment makes another", func() (err error) {
		second, err = ready(pod.Labels)
		return err
	})
	if second.Name == first.Name {
		t.Errorf("the other pod is %s, as the first", second.Name)
	}
	setAside, err := ready(aside)
	if err != nil {
		t.Fatal(err)
	}
	if len(setAside.OwnerReferences) > 0 {
		t.Errorf("the pod set aside is owned by %v, want nobody", setAside.OwnerReferences)
	}
	if got := f.world(setAside.Status.PodIP + ":8080").PID; got != process {
		t.Errorf("the pod set aside has process %d, want %d still", got, process)
	}
}

func TestAPodHasTheRightsOfItsServiceAccount(t *testing.T) {
	f := newFixture(t)
	f.create(&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "worker"}})
	f.create(podOf("with", func(spec *corev1.PodSpec) { spec.ServiceAccountName = "worker" }))
	f.create(podOf("without", func(spec *corev1.PodSpec) {
		spec.ServiceAccountName, spec.AutomountServiceAccountToken = "worker", new(false)
	}))
	with, without := f.ready("with").Status.PodIP+":8080", f.ready("without").Status.PodIP+":8080"
	f.world(with)
	f.world(without)
	if _, got := f.get(with, "/whoami"); got != "system:serviceaccount:"+f.namespace+":worker" {
		t.Errorf("the API server calls the process %q, want the service account", got)
	}
	if status, got := f.get(without, "/whoami"); status == http.StatusOK {
		t.Errorf("the API server calls the process %q, want it to have no token", got)
	}
}

func TestADeploymentTellsWhyItsPodsAreRefused(t *testing.T) {
	f := newFixture(t)
	pod := podOf("web")
	pod.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{Privileged: new(true)}
	restricted := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: f.namespace + "-restricted", Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"}}}
	f.create(restricted)
	deployment := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: restricted.Name, Name: "web"}, Spec: appsv1.DeploymentSpec{
		Selector: &metav1.LabelSelector{MatchLabels: pod.Labels},
		Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: pod.Labels}, Spec: pod.Spec},
	}}
	f.create(deployment)
	f.eventually("the refusal is in the status", func() error {
		if err := f.Get(t.Context(), client.ObjectKeyFromObject(deployment), deployment); err != nil {
			return err
		}
		for _, condition := range deployment.Status.Conditions {
			if condition.Type == appsv1.DeploymentReplicaFailure && strings.Contains(condition.Message, "violates PodSecurity") {
				return nil
			}
		}
		return fmt.Errorf("conditions are %v", deployment.Status.Conditions)
	})
}

func TestStopLeavesNoProcessAndNoListener(t *testing.T) {
	f := newFixture(t)
	f.create(podOf("web"))
	pod := f.ready("web")
	process := f.world(pod.Status.PodIP + ":8080").PID
	if err := f.node.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(process, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("process %d: %v, want it gone", process, err)
	}
	again, err := claimAddresses()
	if err != nil {
		t.Fatal(err)
	}
	defer again.Release()
	if got, want := again.Node(), f.node.kubelet.addresses.Node(); got != want {
		t.Errorf("first free range begins at %v, want %v free again", got, want)
	}

	// Started again, for the clean-up of this test.
	f.node, err = Start(t.Context(), Options{Config: config, Images: map[string]string{}, Dir: t.TempDir(), LogDir: t.TempDir(), Log: f.node.kubelet.log})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Get(t.Context(), client.ObjectKeyFromObject(pod), pod); apierrors.IsNotFound(err) {
		t.Error("the pod's object is gone, want it left as it is")
	}
}
