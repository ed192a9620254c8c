package inject_test

import (
	"encoding/json"
	"errors"
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
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/utils/ptr"
	"pgregory.net/rapid"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/inject"
	"github.com/latchkey-dev/latchkey/sidecar"
)

// anyInterception is the shop, intercepted in one way or the other.
func anyInterception(t *rapid.T) inject.Sidecar {
	shop := shop
	shop.Interception = rapid.SampledFrom([]v1alpha1.Interception{v1alpha1.InterceptionRedirect, v1alpha1.InterceptionLoopback}).Draw(t, "interception")
	return shop
}

func TestInjectingTwiceIsInjectingOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		mine := anyInterception(t)
		once, err := inject.Pod(anyPod(t), mine)
		if err != nil {
			t.Fatal(err)
		}
		mine.HookSecret = "another5ecretOfLetters"
		twice, err := inject.Pod(once, mine)
		if err != nil {
			t.Fatalf("the second time: %v", err)
		}
		if diff := cmp.Diff(once, twice); diff != "" {
			t.Errorf("once, twice: %s", diff)
		}
	})
}

func TestInjectingChangesNothingOfTheAppButItsProbesAndHooks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		mine := anyInterception(t)
		pod := anyPod(t)
		before := pod.DeepCopy()
		injected, err := inject.Pod(pod, mine)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(pod, before); diff != "" {
			t.Fatalf("the pod that was handed in has changed: %s", diff)
		}
		got, want := theirs(injected), theirs(pod)
		for i := range got {
			got[i].StartupProbe, got[i].ReadinessProbe, got[i].LivenessProbe, got[i].Lifecycle = nil, nil, nil, nil
			want[i].StartupProbe, want[i].ReadinessProbe, want[i].LivenessProbe, want[i].Lifecycle = nil, nil, nil, nil
		}
		if diff := cmp.Diff(got, want); diff != "" {
			t.Errorf("got, want: %s", diff)
		}
	})
}

// theirs are the containers that are not ours.
func theirs(pod *corev1.Pod) []corev1.Container {
	return slices.DeleteFunc(append(slices.Clone(pod.Spec.InitContainers), pod.Spec.Containers...), func(c corev1.Container) bool {
		return c.Name == v1alpha1.SidecarContainerName || c.Name == v1alpha1.RedirectContainerName
	})
}

// The sidecar's own reading of the arguments is the judge, after the kubelet's expansion of variables.
func TestTheSidecarAcceptsItsArgumentsAndAnswersEveryRedirectedProbeAndHook(t *testing.T) {
	expand := strings.NewReplacer("$$", "$", "$(POD_IPS)", "192.0.2.1,2001:db8::1").Replace
	rapid.Check(t, func(t *rapid.T) {
		injected, err := inject.Pod(anyPod(t), anyInterception(t))
		if err != nil {
			t.Fatal(err)
		}
		var args []string
		for _, c := range injected.Spec.InitContainers {
			if c.Name == v1alpha1.SidecarContainerName {
				for _, argument := range c.Args {
					args = append(args, expand(argument))
				}
			}
		}
		config, err := sidecar.ParseFlags(args, io.Discard)
		if err != nil {
			t.Fatalf("%v: %v", args, err)
		}
		for _, c := range theirs(injected) {
			for kind, get := range asked(c) {
				secret := ""
				if kind == "postStart" || kind == "preStop" {
					secret = "/" + config.Secret
				}
				switch port := get.Port; {
				case get.Host != "":
				case port == intstr.FromInt32(8080) || port == intstr.FromString("http"):
					t.Errorf("%s/%s still asks port %s, which is protected", c.Name, kind, port.String())
				case port == intstr.FromInt32(int32(config.ProbePort)):
					target, known := config.Probes[sidecar.ProbeKey{Container: c.Name, Kind: kind}]
					if !known || target.Port != 8080 || get.Path != "/"+c.Name+"/"+kind+secret {
						t.Errorf("%s/%s asks the sidecar for %s, which would ask %v", c.Name, kind, get.Path, target)
					}
				}
			}
		}
		for _, c := range injected.Spec.Containers {
			if c.Lifecycle == nil || c.Lifecycle.PreStop == nil {
				t.Errorf("%s ends at once when its pod is deleted", c.Name)
			}
		}
	})
}

// asked are what the kubelet asks of a container by HTTP, by kind. It fails what it asks of a protected port in another way.
func asked(c corev1.Container) map[string]*corev1.HTTPGetAction {
	found := map[string]*corev1.HTTPGetAction{}
	for kind, probe := range map[string]*corev1.Probe{"startup": c.StartupProbe, "readiness": c.ReadinessProbe, "liveness": c.LivenessProbe} {
		switch {
		case probe == nil:
		case probe.HTTPGet != nil:
			found[kind] = probe.HTTPGet
		case probe.TCPSocket != nil:
			found[kind] = &corev1.HTTPGetAction{Port: probe.TCPSocket.Port, Host: probe.TCPSocket.Host}
		case probe.GRPC != nil:
			found[kind] = &corev1.HTTPGetAction{Port: intstr.FromInt32(probe.GRPC.Port)}
		}
	}
	if c.Lifecycle != nil {
		for kind, hook := range map[string]*corev1.LifecycleHandler{"postStart": c.Lifecycle.PostStart, "preStop": c.Lifecycle.PreStop} {
			if hook != nil && hook.HTTPGet != nil {
				found[kind] = hook.HTTPGet
			}
		}
	}
	return found
}

// A newer API server may send fields that these types do not know. They must stay with the container they belong to.
func TestThePatchKeepsFieldsThatItDoesNotKnow(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := errors.Join(v1alpha1.AddToScheme(scheme), clientgoscheme.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	policies := fake.NewClientBuilder().WithScheme(scheme).WithObjects(&v1alpha1.AuthPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: shop.Policy},
		Spec:       v1alpha1.AuthPolicySpec{Ports: shop.Ports},
	}).Build()
	webhook := inject.New(policies, policies, shop.Image)

	rapid.Check(t, func(t *rapid.T) {
		pod := anyPod(t)
		if rapid.Bool().Draw(t, "injected already") {
			old := anyInterception(t)
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
		shop := shop
		shop.Interception = v1alpha1.InterceptionRedirect // nobody here refuses it
		shop.HookSecret = got.Spec.InitContainers[1].Lifecycle.PreStop.HTTPGet.Path[len("/latchkey/preStop/"):]
		want, err := inject.Pod(pod, shop)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(&got, want); diff != "" {
			t.Errorf("got, want: %s", diff)
		}
		for name, future := range futureFields(t, patched) {
			ours := name == v1alpha1.SidecarContainerName || name == v1alpha1.RedirectContainerName
			if want := map[bool]string{true: "", false: name}[ours]; future != want {
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
		if container["name"] != v1alpha1.SidecarContainerName && container["name"] != v1alpha1.RedirectContainerName {
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
		Lifecycle:      anyLifecycle(t),
	}
}

func anyLifecycle(t *rapid.T) *corev1.Lifecycle {
	hook := func() *corev1.LifecycleHandler {
		switch rapid.SampledFrom([]string{"none", "sleep", "httpGet"}).Draw(t, "hook") {
		case "sleep":
			return &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: 1}}
		case "httpGet":
			return &corev1.LifecycleHandler{HTTPGet: anyGet(t)}
		}
		return nil
	}
	if rapid.Bool().Draw(t, "lifecycle") {
		return &corev1.Lifecycle{PostStart: hook(), PreStop: hook()}
	}
	return nil
}

var anyPort = rapid.SampledFrom([]intstr.IntOrString{
	intstr.FromInt32(8080), intstr.FromInt32(8090), intstr.FromString("http"), intstr.FromString("other"), intstr.FromString("none"),
})

func anyProbe(t *rapid.T) *corev1.Probe {
	switch rapid.SampledFrom([]string{"none", "exec", "tcpSocket", "grpc", "httpGet", "httpGet"}).Draw(t, "probe") {
	case "exec":
		return &corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"true"}}}}
	case "tcpSocket":
		return &corev1.Probe{ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: anyPort.Draw(t, "port")}}}
	case "grpc":
		return &corev1.Probe{ProbeHandler: corev1.ProbeHandler{GRPC: &corev1.GRPCAction{
			Port: rapid.SampledFrom([]int32{8080, 8090}).Draw(t, "port"), Service: rapid.SampledFrom([]*string{nil, ptr.To(""), ptr.To("shop.$(Cart)")}).Draw(t, "service"),
		}}}
	case "httpGet":
		return &corev1.Probe{PeriodSeconds: 3, ProbeHandler: corev1.ProbeHandler{HTTPGet: anyGet(t)}}
	}
	return nil
}

func anyGet(t *rapid.T) *corev1.HTTPGetAction {
	get := &corev1.HTTPGetAction{
		Path: rapid.OneOf(rapid.SampledFrom([]string{"", "/", "healthz", "/a%2Fb?c=d", "//host/x", "/$(POD_IPS)", "$$", "x:y", "#z", "/%zz"}), rapid.String()).Draw(t, "path"),
		Port: anyPort.Draw(t, "port"),
		Host: rapid.SampledFrom([]string{"", "", "example.com"}).Draw(t, "host"),
	}
	if rapid.Bool().Draw(t, "header") {
		get.HTTPHeaders = []corev1.HTTPHeader{{Name: "Host", Value: "$(HOST).example"}, {Name: "X-Key", Value: "a=b,c"}}
	}
	return get
}
