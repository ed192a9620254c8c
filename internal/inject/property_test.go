package inject_test

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
	"pgregory.net/rapid"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/inject"
	"github.com/latchkey-dev/latchkey/sidecar"
)

func TestInjectingTwiceIsInjectingOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		once, err := inject.Pod(anyPod(t), shop)
		if err != nil {
			t.Fatal(err)
		}
		twice, err := inject.Pod(once, shop)
		if err != nil {
			t.Fatalf("the second time: %v", err)
		}
		if diff := cmp.Diff(once, twice); diff != "" {
			t.Errorf("once, twice: %s", diff)
		}
	})
}

func TestInjectingChangesNothingOfTheAppButItsProbes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pod := anyPod(t)
		before := pod.DeepCopy()
		injected, err := inject.Pod(pod, shop)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(pod, before); diff != "" {
			t.Fatalf("the pod that was handed in has changed: %s", diff)
		}
		got := append(slices.Clone(injected.Spec.InitContainers[1:]), injected.Spec.Containers...)
		want := append(slices.Clone(pod.Spec.InitContainers), pod.Spec.Containers...)
		for i := range got {
			got[i].StartupProbe, got[i].ReadinessProbe, got[i].LivenessProbe = nil, nil, nil
			want[i].StartupProbe, want[i].ReadinessProbe, want[i].LivenessProbe = nil, nil, nil
		}
		if diff := cmp.Diff(got, want); diff != "" {
			t.Errorf("got, want: %s", diff)
		}
	})
}

// The sidecar's own reading of the arguments is the judge, after the kubelet's expansion of variables.
func TestTheSidecarAcceptsItsArgumentsAndAnswersEveryRedirectedProbe(t *testing.T) {
	expand := strings.NewReplacer("$$", "$", "$(POD_IPS)", "192.0.2.1,2001:db8::1").Replace
	rapid.Check(t, func(t *rapid.T) {
		injected, err := inject.Pod(anyPod(t), shop)
		if err != nil {
			t.Fatal(err)
		}
		var args []string
		for _, argument := range injected.Spec.InitContainers[0].Args {
			args = append(args, expand(argument))
		}
		config, err := sidecar.ParseFlags(args, io.Discard)
		if err != nil {
			t.Fatalf("%v: %v", args, err)
		}
		for _, c := range append(injected.Spec.InitContainers[1:], injected.Spec.Containers...) {
			for kind, probe := range map[string]*corev1.Probe{"startup": c.StartupProbe, "readiness": c.ReadinessProbe, "liveness": c.LivenessProbe} {
				if probe == nil || probe.HTTPGet == nil || probe.HTTPGet.Host != "" {
					continue
				}
				switch port := probe.HTTPGet.Port; {
				case port == intstr.FromInt32(8080) || port == intstr.FromString("http"):
					t.Errorf("%s/%s still asks port %s, which is protected", c.Name, kind, port.String())
				case port == intstr.FromInt32(int32(config.ProbePort)):
					target := config.Probes[sidecar.ProbeKey{Container: c.Name, Kind: kind}]
					if target == nil || target.Host != "127.0.0.1:8080" {
						t.Errorf("%s/%s asks the sidecar, which would ask %v", c.Name, kind, target)
					}
				}
			}
		}
	})
}

// A newer API server may send fields that these types do not know. They must stay with the container they belong to.
func TestThePatchKeepsFieldsThatItDoesNotKnow(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	policies := fake.NewClientBuilder().WithScheme(scheme).WithObjects(&v1alpha1.AuthPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: shop.Policy},
		Spec:       v1alpha1.AuthPolicySpec{Ports: shop.Ports},
	}).Build()
	webhook := &inject.Webhook{Cached: policies, Live: policies, SidecarImage: shop.Image}

	rapid.Check(t, func(t *rapid.T) {
		pod := anyPod(t)
		if rapid.Bool().Draw(t, "injected already") {
			old := shop
			old.Image, old.Ports = "example.com/sidecar:0", []int32{8080}
			injected, err := inject.Pod(pod, old)
			if err != nil {
				t.Fatal(err)
			}
			injected.Spec.InitContainers[0].ReadinessProbe = nil // as an older release might have had it
			injected.Spec.InitContainers = append(injected.Spec.InitContainers[1:], injected.Spec.InitContainers[0])
			injected.Spec.Volumes = append(injected.Spec.Volumes, corev1.Volume{Name: "later"})
			pod = injected
		}
		want, err := inject.Pod(pod, shop)
		if err != nil {
			t.Fatal(err)
		}
		raw := withFutureFields(t, pod)
		response := webhook.Handle(t.Context(), admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{
			UID: "1", Namespace: "default", Operation: admissionv1.Create, Object: runtime.RawExtension{Raw: raw},
		}})
		if !response.Allowed {
			t.Fatalf("refused: %v", response.Result)
		}
		patched := apply(t, raw, response)

		var got corev1.Pod
		if err := json.Unmarshal(patched, &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(&got, want); diff != "" {
			t.Errorf("got, want: %s", diff)
		}
		for name, future := range futureFields(t, patched) {
			if want := map[bool]string{true: "", false: name}[name == v1alpha1.SidecarContainerName]; future != want {
				t.Errorf("container %s: got the unknown field of %q, want %q", name, future, want)
			}
		}
	})
}

func apply(t *rapid.T, raw []byte, response admission.Response) []byte {
	operations, err := json.Marshal(response.Patches)
	if err != nil {
		t.Fatal(err)
	}
	patch, err := jsonpatch.DecodePatch(operations)
	if err != nil {
		t.Fatal(err)
	}
	patched, err := patch.Apply(raw)
	if err != nil {
		t.Fatalf("apply %s: %v", operations, err)
	}
	return patched
}

// withFutureFields gives each container but the sidecar a field of its own name.
func withFutureFields(t *rapid.T, pod *corev1.Pod) []byte {
	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(pod)
	if err != nil {
		t.Fatal(err)
	}
	for _, container := range containersOf(object) {
		if container["name"] != v1alpha1.SidecarContainerName {
			container["fieldOfTheFuture"] = container["name"]
		}
	}
	raw, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func futureFields(t *rapid.T, raw []byte) map[string]string {
	var object map[string]any
	if err := json.Unmarshal(raw, &object); err != nil {
		t.Fatal(err)
	}
	fields := map[string]string{}
	for _, container := range containersOf(object) {
		future, _ := container["fieldOfTheFuture"].(string)
		fields[container["name"].(string)] = future
	}
	return fields
}

func containersOf(pod map[string]any) []map[string]any {
	var containers []map[string]any
	for _, list := range []string{"initContainers", "containers"} {
		items, _ := pod["spec"].(map[string]any)[list].([]any)
		for _, item := range items {
			containers = append(containers, item.(map[string]any))
		}
	}
	return containers
}

// anyPod draws a pod that can be injected.
func anyPod(t *rapid.T) *corev1.Pod {
	pod := &corev1.Pod{}
	if rapid.Bool().Draw(t, "labelled") {
		pod.Labels = map[string]string{"app": "web", v1alpha1.LabelInject: v1alpha1.LabelInjectEnabled}
	}
	for i := range rapid.IntRange(0, 2).Draw(t, "init containers") {
		c := corev1.Container{Name: fmt.Sprintf("init-%d", i)}
		if rapid.Bool().Draw(t, "native sidecar") {
			c = anyContainer(t, c.Name)
			c.RestartPolicy = ptr.To(corev1.ContainerRestartPolicyAlways)
		}
		pod.Spec.InitContainers = append(pod.Spec.InitContainers, c)
	}
	for i := range rapid.IntRange(1, 3).Draw(t, "containers") {
		pod.Spec.Containers = append(pod.Spec.Containers, anyContainer(t, fmt.Sprintf("app-%d", i)))
	}
	for i := range rapid.IntRange(0, 2).Draw(t, "volumes") {
		pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: fmt.Sprintf("volume-%d", i)})
	}
	return pod
}

func anyContainer(t *rapid.T, name string) corev1.Container {
	return corev1.Container{
		Name:           name,
		Ports:          []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}, {Name: "other", ContainerPort: 8090}},
		StartupProbe:   anyProbe(t),
		ReadinessProbe: anyProbe(t),
		LivenessProbe:  anyProbe(t),
	}
}

func anyProbe(t *rapid.T) *corev1.Probe {
	ports := []intstr.IntOrString{intstr.FromInt32(8080), intstr.FromInt32(8090), intstr.FromString("http"), intstr.FromString("other"), intstr.FromString("none")}
	switch rapid.SampledFrom([]string{"none", "exec", "httpGet", "httpGet"}).Draw(t, "probe") {
	case "exec":
		return &corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"true"}}}}
	case "httpGet":
		return &corev1.Probe{PeriodSeconds: 3, ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{
			Path: rapid.OneOf(rapid.SampledFrom([]string{"", "/", "healthz", "/a%2Fb?c=d", "//host/x", "/$(POD_IPS)", "$$", "x:y", "#z", "/%zz"}), rapid.String()).Draw(t, "path"),
			Port: rapid.SampledFrom(ports).Draw(t, "port"),
			Host: rapid.SampledFrom([]string{"", "", "example.com"}).Draw(t, "host"),
		}}}
	}
	return nil
}
