package inject_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/inject"
)

var update = flag.Bool("update", false, "write the golden files anew")

var shop = inject.Sidecar{
	Image: "example.com/sidecar:1", Policy: "shop", Ports: []int32{9090, 8080}, Interception: v1alpha1.InterceptionLoopback, HookSecret: "a5ecretOfTwentySixLetters",
}

func TestPodIsInjectedAsTheGoldenFilesShow(t *testing.T) {
	inputs, err := filepath.Glob("testdata/*.in.yaml")
	if err != nil || len(inputs) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, input := range inputs {
		t.Run(strings.TrimSuffix(filepath.Base(input), ".in.yaml"), func(t *testing.T) {
			shop := shop
			if strings.HasPrefix(filepath.Base(input), "redirect") {
				shop.Interception = v1alpha1.InterceptionRedirect
			}
			injected, err := inject.Pod(readPod(t, input), shop)
			if err != nil {
				t.Fatal(err)
			}
			got, err := yaml.Marshal(injected)
			if err != nil {
				t.Fatal(err)
			}
			golden := strings.TrimSuffix(input, ".in.yaml") + ".out.yaml"
			if *update {
				if err = os.WriteFile(golden, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("got, want (go test ./internal/inject -update writes it anew):\n%s", cmp.Diff(string(want), string(got)))
			}
		})
	}
}

func readPod(t *testing.T, path string) *corev1.Pod {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var pod corev1.Pod
	if err := yaml.UnmarshalStrict(data, &pod); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return &pod
}

func TestPodsThatTheSidecarCouldNotProtectAreRefused(t *testing.T) {
	const app = "containers: [{name: app, image: app, ports: [{name: http, containerPort: 8080}]"
	cases := []struct {
		name string
		spec string
		want []string // each a path and the beginning of its reason
	}{
		{
			name: "host network",
			spec: "hostNetwork: true\n" + app + "}]",
			want: []string{"spec.hostNetwork: Forbidden: the sidecar would take ports of the node itself"},
		},
		{
			name: "a container that has the sidecar's name",
			spec: "containers: [{name: latchkey, image: app}]",
			want: []string{`spec.containers[0].name: Forbidden: "latchkey" is the sidecar's own`},
		},
		{
			name: "an init container that has the sidecar's name but is not it",
			spec: "initContainers: [{name: latchkey, image: app, restartPolicy: Always}]\n" + app + "}]",
			want: []string{`spec.initContainers[0].name: Forbidden: "latchkey" is the sidecar's own`},
		},
		{
			name: "one of the sidecar's ports",
			spec: "containers: [{name: app, image: app, ports: [{containerPort: 8080}, {containerPort: 15029}]}]",
			want: []string{"spec.containers[0].ports[1].containerPort: Forbidden: ports 15020 to 15029 are the sidecar's own"},
		},
		{
			name: "the sidecar's volumes",
			spec: app + ", volumeMounts: [{name: latchkey-state, mountPath: /x}]}]\nvolumes: [{name: latchkey-bundle, emptyDir: {}}]",
			want: []string{
				`spec.volumes[0].name: Forbidden: "latchkey-bundle" is the sidecar's own`,
				`spec.containers[0].volumeMounts[0].name: Forbidden: "latchkey-state" belongs to the sidecar alone`,
			},
		},
		{
			name: "a header that no request can have",
			spec: app + ", readinessProbe: {httpGet: {port: 8080, httpHeaders: [{name: A, value: \"secret\\n\"}]}}}]",
			want: []string{"spec.containers[0].readinessProbe.httpGet: Forbidden: the sidecar cannot ask this of the app: headers[0]"},
		},
		{
			name: "Windows",
			spec: "os: {name: windows}\n" + app + "}]",
			want: []string{"spec.os.name: Forbidden: the sidecar runs on Linux alone"},
		},
		{
			name: "a container that has the redirector's name",
			spec: "initContainers: [{name: latchkey-redirect, image: app, command: [/bin/true]}]\n" + app + "}]",
			want: []string{`spec.initContainers[0].name: Forbidden: "latchkey-redirect" is the sidecar's own`},
		},
		{
			name: "a probe of one of the sidecar's ports",
			spec: app + ", readinessProbe: {httpGet: {port: 15021, path: /app/readiness}}}]",
			want: []string{"spec.containers[0].readinessProbe.httpGet.port: Forbidden: ports 15020 to 15029 are the sidecar's own"},
		},
		{
			name: "TCP hooks on protected ports",
			spec: app + ", lifecycle: {postStart: {tcpSocket: {port: http}}, preStop: {tcpSocket: {port: 9090}}}}]",
			want: []string{
				"spec.containers[0].lifecycle.postStart.tcpSocket: Forbidden: Kubernetes carries out no such hook",
				"spec.containers[0].lifecycle.preStop.tcpSocket: Forbidden: Kubernetes carries out no such hook",
			},
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var pod corev1.Pod
			if err := yaml.UnmarshalStrict([]byte("apiVersion: v1\nkind: Pod\nspec:\n  "+strings.ReplaceAll(c.spec, "\n", "\n  ")), &pod); err != nil {
				t.Fatal(err)
			}
			_, err := inject.Pod(&pod, shop)
			if err == nil {
				t.Fatal("got no error, want a refusal")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want %s", err, want)
				}
			}
			if got, want := strings.Count(err.Error(), "Forbidden"), len(c.want); got != want {
				t.Errorf("got %d reasons, want %d: %v", got, want, err)
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("the refusal quotes a value of the pod: %v", err)
			}
		})
	}
}

func TestAnAnnotationThatNobodyUnderstandsIsRefused(t *testing.T) {
	pod := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "app"}}}}
	pod.Annotations = map[string]string{v1alpha1.AnnotationProfile: "on"}
	_, err := inject.Pod(pod, shop)
	if want := `metadata.annotations[auth.latchkey.dev/profile]: Forbidden: must be "enabled", or not be there`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestLowPortsAreTakenByLoopbackAfterTheKernelWasAsked(t *testing.T) {
	web := inject.Sidecar{Image: "sidecar", Policy: "web", Ports: []int32{8080, 80}, HookSecret: shop.HookSecret}
	const start = "net.ipv4.ip_unprivileged_port_start"
	cases := []struct {
		name         string
		interception v1alpha1.Interception
		had, want    []corev1.Sysctl
		refused      bool
	}{
		{name: "asked", interception: v1alpha1.InterceptionLoopback, want: []corev1.Sysctl{{Name: start, Value: "0"}}},
		{
			name: "asked beside others", interception: v1alpha1.InterceptionLoopback,
			had: []corev1.Sysctl{{Name: "a", Value: "1"}}, want: []corev1.Sysctl{{Name: "a", Value: "1"}, {Name: start, Value: "0"}},
		},
		{
			name: "asked already", interception: v1alpha1.InterceptionLoopback,
			had: []corev1.Sysctl{{Name: start, Value: "80"}}, want: []corev1.Sysctl{{Name: start, Value: "80"}},
		},
		{name: "asked for less", interception: v1alpha1.InterceptionLoopback, had: []corev1.Sysctl{{Name: start, Value: "81"}}, refused: true},
		{name: "by redirect there is no need", interception: v1alpha1.InterceptionRedirect},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			pod := &corev1.Pod{}
			if c.had != nil {
				pod.Spec.SecurityContext = &corev1.PodSecurityContext{Sysctls: c.had}
			}
			web.Interception = c.interception
			injected, err := inject.Pod(pod, web)
			if c.refused {
				if err == nil || !strings.Contains(err.Error(), "spec.securityContext.sysctls[0].value: Forbidden: the sidecar has to listen on port 80") {
					t.Errorf("got %v, want a refusal", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var got []corev1.Sysctl
			if injected.Spec.SecurityContext != nil {
				got = injected.Spec.SecurityContext.Sysctls
			}
			if diff := cmp.Diff(got, c.want); diff != "" {
				t.Errorf("sysctls (-got +want):\n%s", diff)
			}
		})
	}
}

func TestTheWaitBeforeTheEndLeavesTheAppTimeOfItsGracePeriod(t *testing.T) {
	for grace, want := range map[int64]int64{0: 0, 1: 0, 2: 1, 9: 4, 10: 5, 600: 5} {
		pod := &corev1.Pod{Spec: corev1.PodSpec{TerminationGracePeriodSeconds: &grace, Containers: []corev1.Container{{Name: "app"}}}}
		injected, err := inject.Pod(pod, shop)
		if err != nil {
			t.Fatal(err)
		}
		got := int64(0)
		if lifecycle := injected.Spec.Containers[0].Lifecycle; lifecycle != nil {
			got = lifecycle.PreStop.Sleep.Seconds
		}
		if got != want {
			t.Errorf("with a grace period of %d s: got a wait of %d s, want %d", grace, got, want)
		}
	}
}

func TestInterceptionIsToldFromTheContainersAlsoOfATrace(t *testing.T) {
	plain := &corev1.Pod{}
	if got := inject.Interception(plain); got != "" {
		t.Errorf("a pod without a sidecar: got %q", got)
	}
	for _, want := range []v1alpha1.Interception{v1alpha1.InterceptionRedirect, v1alpha1.InterceptionLoopback} {
		shop := shop
		shop.Interception = want
		injected, err := inject.Pod(plain, shop)
		if err != nil {
			t.Fatal(err)
		}
		injected.Annotations = nil // anybody may change them
		traced := &corev1.Pod{Spec: corev1.PodSpec{InitContainers: inject.Trace(injected)}}
		if got, again := inject.Interception(injected), inject.Interception(traced); got != want || again != want {
			t.Errorf("got %s, and %s of its trace, want %s", got, again, want)
		}
	}
}
