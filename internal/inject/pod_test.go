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

	"github.com/latchkey-dev/latchkey/internal/inject"
)

var update = flag.Bool("update", false, "write the golden files anew")

var shop = inject.Sidecar{Image: "example.com/sidecar:1", Policy: "shop", Ports: []int32{9090, 8080}}

func TestPodIsInjectedAsTheGoldenFilesShow(t *testing.T) {
	inputs, err := filepath.Glob("testdata/*.in.yaml")
	if err != nil || len(inputs) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, input := range inputs {
		t.Run(strings.TrimSuffix(filepath.Base(input), ".in.yaml"), func(t *testing.T) {
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
			name: "a TCP probe of a protected port",
			spec: app + ", livenessProbe: {tcpSocket: {port: http}}}]",
			want: []string{"spec.containers[0].livenessProbe.tcpSocket: Forbidden: port 8080 is protected"},
		},
		{
			name: "a gRPC probe of a protected port",
			spec: app + ", startupProbe: {grpc: {port: 9090}}}]",
			want: []string{"spec.containers[0].startupProbe.grpc: Forbidden: port 9090 is protected"},
		},
		{
			name: "an HTTPS probe of a protected port",
			spec: app + ", readinessProbe: {httpGet: {port: 8080, scheme: HTTPS}}}]",
			want: []string{"spec.containers[0].readinessProbe.httpGet.scheme: Forbidden: port 8080 is protected"},
		},
		{
			name: "a probe of a protected port with headers",
			spec: app + ", readinessProbe: {httpGet: {port: 8080, httpHeaders: [{name: Host, value: secret}]}}}]",
			want: []string{"spec.containers[0].readinessProbe.httpGet.httpHeaders: Forbidden: port 8080 is protected"},
		},
		{
			name: "a probe of one of the sidecar's ports",
			spec: app + ", readinessProbe: {httpGet: {port: 15021, path: /app/readiness}}}]",
			want: []string{"spec.containers[0].readinessProbe.httpGet.port: Forbidden: ports 15020 to 15029 are the sidecar's own"},
		},
		{
			name: "HTTP and TCP hooks on protected ports",
			spec: app + ", lifecycle: {postStart: {httpGet: {port: http}}, preStop: {tcpSocket: {port: 9090}}}}]",
			want: []string{
				"spec.containers[0].lifecycle.postStart.httpGet: Forbidden: port 8080 is protected",
				"spec.containers[0].lifecycle.preStop.tcpSocket: Forbidden: port 9090 is protected",
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
