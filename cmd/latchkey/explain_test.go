package main

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/bundle"
	"github.com/latchkey-dev/latchkey/internal/policy"
	"github.com/latchkey-dev/latchkey/test/controlplane"
	"github.com/latchkey-dev/latchkey/test/localnode"
)

const explainPatience = time.Minute

// A caller is refused by the real sidecar of a pod, and whoever has the id finds out why by way of the real API server.
func TestExplainFindsTheDecisionInThePodThatMadeIt(t *testing.T) {
	kubeconfig, pods := startPods(t, "first", "second")
	id, secret := refuseAt(t, pods["second"])

	code, out, messages := latchkey(t, "", "explain", id, "--kubeconfig="+kubeconfig, "-n", "shop")
	if code != 0 {
		t.Fatalf("got exit code %d: %s%s", code, out, messages)
	}
	for _, want := range []string{
		"decision  refused with 403 Forbidden", "reason    denied: the rule lets nobody pass", "request   GET /closed/books", "pod       shop/second",
		"policy    guard", "rule      rules[1]",
	} {
		if !strings.Contains(out, want+"\n") && !strings.Contains(out, want+",") {
			t.Errorf("got %q, want a line %q", out, want)
		}
	}
	if strings.Contains(out, secret) {
		t.Errorf("got %q, want nothing of the query or the token in it", out)
	}
	for _, tc := range []struct {
		name, want string
		args       []string
	}{
		{"of a decision that nobody remembers", "no pod that was asked remembers this decision", []string{"3w5e11264sgsf", "-n", "shop", "--pod", "first"}},
		{"in a pod that did not make it", "no pod that was asked remembers this decision", []string{id, "-n", "shop", "--pod", "first"}},
		{"under a policy that governs nothing", "no pod with a sidecar runs in the namespace shop under the policy other", []string{id, "-n", "shop", "--policy", "other"}},
		{"in a namespace without pods", "no pod with a sidecar runs in the namespace default", []string{id}},
		// Where a pod cannot be asked, the decision may be its own.
		{"in a pod that does not answer", "pod silent: ask its sidecar: ", []string{"3w5e11264sgsf", "-n", "shop", "--pod", "silent"}},
		{"without an id", "the id of a decision is required", []string{"-n", "shop"}},
	} {
		if code, out, messages := latchkey(t, "", append([]string{"explain"}, append(tc.args, "--kubeconfig="+kubeconfig)...)...); code == 0 || !strings.Contains(messages, tc.want) {
			t.Errorf("%s: got exit code %d, %s%s, want %q", tc.name, code, out, messages, tc.want)
		}
	}
}

// refuseAt is refused by a pod, and returns the id that it was told, and what it sent that is nobody's business.
func refuseAt(t *testing.T, pod corev1.Pod) (id, secret string) {
	t.Helper()
	secret = "hunter2"
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+pod.Status.PodIP+":8080/closed/books?key="+secret, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+secret)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var told struct{ Decision string }
	if err := json.NewDecoder(response.Body).Decode(&told); err != nil || told.Decision == "" {
		t.Fatalf("got %d without a decision's id: %v", response.StatusCode, err)
	}
	return told.Decision, secret
}

// startPods runs pods with a sidecar each in the namespace shop, and one more, silent, that only says it has one. It returns a kubeconfig
// and the pods when they are ready.
func startPods(t *testing.T, names ...string) (kubeconfig string, pods map[string]corev1.Pod) {
	t.Helper()
	ctrl.SetLogger(logr.Discard())
	cluster, err := controlplane.Start()
	must(t, err)
	t.Cleanup(func() { must(t, cluster.Stop()) })
	program := filepath.Join(t.TempDir(), "sidecar")
	output, err := exec.Command("go", "build", "-o", program, "github.com/latchkey-dev/latchkey/cmd/sidecar").CombinedOutput()
	if err != nil {
		t.Fatalf("build the sidecar: %v\n%s", err, output)
	}
	const image, sleeper = "example.com/sidecar:test", "example.com/sleep:test"
	sleep, err := exec.LookPath("sleep")
	must(t, err)
	dir := t.TempDir()
	node, err := localnode.Start(t.Context(), localnode.Options{
		Config: cluster.Config, Images: map[string]string{image: program, sleeper: sleep}, Dir: filepath.Join(dir, "node"), LogDir: filepath.Join(dir, "logs"),
		Log: slog.New(slog.DiscardHandler),
	})
	must(t, err)
	t.Cleanup(func() { must(t, node.Stop()) })

	c, err := client.New(cluster.Config, client.Options{})
	must(t, err)
	document, err := (&bundle.Bundle{Policy: policy.Document{Rules: []policy.Rule{
		{Paths: []policy.Path{{Prefix: "/public"}}, Access: policy.AccessAnonymous}, {Paths: []policy.Path{{Prefix: "/closed"}}, Access: policy.AccessDeny},
	}}}).Marshal()
	must(t, err)
	labels := map[string]string{v1alpha1.LabelPod: v1alpha1.LabelPodSidecar, v1alpha1.LabelPolicy: "guard"}
	create := func(object client.Object) { t.Helper(); must(t, c.Create(t.Context(), object)) }
	create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}})
	create(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "guard-bundle", Namespace: "shop"}, Data: map[string]string{bundle.FileName: string(document)}})
	podOf := func(name string, container corev1.Container) *corev1.Pod {
		container.Name = v1alpha1.SidecarContainerName
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "shop", Labels: labels}, Spec: corev1.PodSpec{
			AutomountServiceAccountToken: new(false), TerminationGracePeriodSeconds: new(int64(2)), Containers: []corev1.Container{container},
			Volumes: []corev1.Volume{
				{Name: "bundle", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "guard-bundle"}}}},
				{Name: "state", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
			},
		}}
	}
	for _, name := range names {
		create(podOf(name, corev1.Container{
			Image:        image,
			Args:         []string{"--bundle=/bundle", "--state=/state", "--pod-ips=$(POD_IP)", "--app-host=127.0.0.1", "--port=8080"},
			Env:          []corev1.EnvVar{{Name: "POD_IP", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "status.podIP"}}}},
			VolumeMounts: []corev1.VolumeMount{{Name: "bundle", MountPath: "/bundle"}, {Name: "state", MountPath: "/state"}},
			// Not /readyz: there is no app.
			ReadinessProbe: &corev1.Probe{PeriodSeconds: 1, ProbeHandler: corev1.ProbeHandler{
				HTTPGet: &corev1.HTTPGetAction{Path: "/healthz", Port: intstr.FromInt32(15020)},
			}},
		}))
	}
	create(podOf("silent", corev1.Container{Image: sleeper, Args: []string{"600"}}))
	pods = map[string]corev1.Pod{}
	for _, name := range append(names, "silent") {
		pod := &corev1.Pod{}
		for deadline := time.Now().Add(explainPatience); !localnode.Ready(pod); <-time.After(20 * time.Millisecond) {
			must(t, c.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: name}, pod))
			if time.Now().After(deadline) {
				t.Fatalf("pod %s is not ready: %s", name, localnode.Trouble(pod))
			}
		}
		pods[name] = *pod
	}
	kubeconfig = filepath.Join(dir, "kubeconfig")
	must(t, os.WriteFile(kubeconfig, cluster.Kubeconfig(), 0o600))
	return kubeconfig, pods
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
