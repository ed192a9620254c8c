package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/inject"
	"github.com/latchkey-dev/latchkey/test/controlplane"
	"github.com/latchkey-dev/latchkey/test/installation"
)

// asManager makes the test binary be the manager, so that the tests can start and stop real processes.
const asManager = "LATCHKEY_TEST_RUN_MANAGER"

// patience bounds every wait; nothing waits for it to pass.
const patience = 60 * time.Second

var cluster *controlplane.Cluster

func TestMain(m *testing.M) {
	if os.Getenv(asManager) != "" {
		main()
	}
	os.Exit(withCluster(m))
}

func withCluster(m *testing.M) int {
	var err error
	if cluster, err = controlplane.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = cluster.Stop() }()
	return m.Run()
}

// With the rights of config/rbac and no others.
func TestTheManagerDoesItsWorkAndHandsItOn(t *testing.T) {
	api := install(t)
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	must(t, installation.WriteKubeconfig(t.Context(), api, cluster.Config, kubeconfig))
	address, err := installation.WebhookAddress(t.Context(), api)
	must(t, err)

	profiles := "127.0.0.1:" + freePort(t)
	first := startManager(t, kubeconfig, address, "--profile-address="+profiles)
	first.waitReady(t)
	for _, each := range []struct {
		address string
		want    int
	}{{profiles, http.StatusOK}, {first.health, http.StatusNotFound}, {first.metrics, http.StatusNotFound}} {
		if got, _, err := get(t.Context(), each.address, "/debug/pprof/heap"); err != nil || got != each.want {
			t.Errorf("a profile at %s: got %d and %v, want %d", each.address, got, err, each.want)
		}
	}

	for _, file := range []string{"signingkey", "tokenissuer", "authpolicy"} {
		apply(t, api, "default", "samples/auth_v1alpha1_"+file+".yaml")
	}
	apply(t, api, "default", "samples/users_secret.yaml")
	eventually(t, func(ctx context.Context) error {
		var key v1alpha1.SigningKey
		if err := api.Get(ctx, client.ObjectKey{Namespace: "default", Name: "sample"}, &key); err != nil {
			return err
		}
		if !meta.IsStatusConditionTrue(key.Status.Conditions, v1alpha1.ConditionReady) {
			return fmt.Errorf("the SigningKey is not ready: %+v", key.Status.Conditions)
		}
		return nil
	})
	eventually(t, func(ctx context.Context) error {
		return api.Get(ctx, client.ObjectKey{Namespace: "default", Name: "sample-issuer"}, &appsv1.Deployment{})
	})
	eventually(t, func(ctx context.Context) error {
		return api.Get(ctx, client.ObjectKey{Namespace: "default", Name: "sample-bundle"}, &corev1.Secret{})
	})
	eventually(t, func(ctx context.Context) error { return createInjectedPod(ctx, api) })
	if metrics := first.get(t, first.metrics, "/metrics"); !strings.Contains(metrics, `latchkey_manager_admissions_total{outcome="injected"}`) {
		t.Error("the metrics do not count the pod that was injected")
	}

	if code, said := checkInstallation(t, kubeconfig); code != 0 {
		t.Errorf("check: got exit code %d and %q, want 0", code, said)
	}

	var authority corev1.Secret
	must(t, api.Get(t.Context(), client.ObjectKey{Namespace: "latchkey-system", Name: "latchkey-ca"}, &authority))
	if got := first.stop(t); got != 0 {
		t.Errorf("after SIGTERM: got exit code %d, want 0:\n%s", got, first.log.String())
	}
	for _, secret := range authority.Data {
		if strings.Contains(first.log.String(), string(secret)) {
			t.Error("the log holds what the Secret latchkey-ca holds")
		}
	}

	if code, said := checkInstallation(t, kubeconfig); code != 1 || !strings.Contains(said, "no manager leads") ||
		!strings.Contains(said, "webhook namespace.inject.latchkey.dev: it does not answer") {
		t.Errorf("check without a manager: got exit code %d and %q, want 1 and what is missing", code, said)
	}

	second := startManager(t, kubeconfig, address)
	second.waitReady(t)
	if err := createInjectedPod(t.Context(), api); err != nil {
		t.Errorf("the next manager is ready, but not trusted as the one before: %v", err)
	}
	if got := second.stop(t); got != 0 {
		t.Errorf("after SIGTERM: got exit code %d, want 0:\n%s", got, second.log.String())
	}
}

func TestTheManagerDoesNotStartWithAnAuthorityItCannotRead(t *testing.T) {
	api := install(t)
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "broken-"}}
	must(t, api.Create(t.Context(), namespace))
	must(t, api.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace.Name, Name: "latchkey-ca"}}))

	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	must(t, os.WriteFile(kubeconfig, cluster.Kubeconfig(), 0o600))
	p := startManager(t, kubeconfig, "127.0.0.1:"+freePort(t), "--namespace="+namespace.Name)
	if got := p.wait(t); got != 1 {
		t.Errorf("got exit code %d, want 1", got)
	}
	if want := "Secret " + namespace.Name + "/latchkey-ca"; !strings.Contains(p.log.String(), want) {
		t.Errorf("got log %s, want it to name %s", p.log.String(), want)
	}
}

func TestFlagsThatMakeNoSenseAreNamed(t *testing.T) {
	good := []string{"--namespace=a", "--sidecar-image=b", "--issuer-image=c"}
	cases := []struct {
		name string
		args []string
		want []string
	}{
		{name: "none", want: []string{"--namespace: required", "--sidecar-image: required", "--issuer-image: required"}},
		{name: "an unknown one", args: append(good, "--colour"), want: []string{"-colour"}},
		{name: "an argument", args: append(good, "run"), want: []string{`unexpected argument "run"`}},
		{name: "no address", args: append(good, "--webhook-address=here"), want: []string{"--webhook-address: ", "is not ip:port"}},
		{name: "a host name", args: append(good, "--health-address=localhost:1"), want: []string{"--health-address: ", "is not ip:port"}},
		{name: "an IPv6 address without brackets", args: append(good, "--metrics-address=fd00::1:8080"), want: []string{"--metrics-address: ", "brackets"}},
		{name: "profiles where others could reach them", args: append(good, "--profile-address=10.0.0.1:6060"), want: []string{"-profile-address: must be a loopback address"}},
		{name: "profiles everywhere", args: append(good, "--profile-address=:6060"), want: []string{"-profile-address: must be ip:port"}},
		{name: "port 0", args: append(good, "--webhook-address=[::1]:0"), want: []string{"--webhook-address: ", "from 1 to 65535"}},
		{name: "check without a namespace", args: []string{"check"}, want: []string{"--namespace: required"}},
		{name: "check with an argument", args: []string{"check", "--namespace=a", "all"}, want: []string{`unexpected argument "all"`}},
		{name: "an unknown level", args: append(good, "--log-level=loud"), want: []string{"-log-level"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var stderr bytes.Buffer
			if got := run(t.Context(), c.args, &stderr); got != 2 {
				t.Errorf("got exit code %d, want 2", got)
			}
			for _, want := range c.want {
				if !strings.Contains(stderr.String(), want) {
					t.Errorf("got %s, want %s", stderr.String(), want)
				}
			}
		})
	}
}

// checkInstallation runs what `helm test` runs, with the rights that it has.
func checkInstallation(t *testing.T, kubeconfig string) (code int, said string) {
	t.Helper()
	command := exec.Command(os.Args[0], "check", "--namespace=latchkey-system")
	command.Env = append(os.Environ(), asManager+"=1", "KUBECONFIG="+kubeconfig)
	output, err := command.CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return command.ProcessState.ExitCode(), string(output)
}

// process is a running manager.
type process struct {
	command         *exec.Cmd
	log             *bytes.Buffer
	health, metrics string
	exited          chan struct{}
}

func startManager(t *testing.T, kubeconfig, webhookAddress string, more ...string) *process {
	t.Helper()
	p := &process{log: &bytes.Buffer{}, health: "127.0.0.1:" + freePort(t), metrics: "127.0.0.1:" + freePort(t), exited: make(chan struct{})}
	p.command = exec.Command(os.Args[0], append([]string{
		"--namespace=latchkey-system", "--sidecar-image=example.com/sidecar:1", "--issuer-image=example.com/issuer:1", "--leader-elect",
		"--webhook-address=" + webhookAddress, "--health-address=" + p.health, "--metrics-address=" + p.metrics,
	}, more...)...)
	p.command.Env = append(os.Environ(), asManager+"=1", "KUBECONFIG="+kubeconfig)
	p.command.Stdout, p.command.Stderr = p.log, p.log
	must(t, p.command.Start())
	go func() {
		_ = p.command.Wait() // the exit code is asked for later
		close(p.exited)
	}()
	t.Cleanup(func() {
		_ = p.command.Process.Kill()
		<-p.exited
		if t.Failed() {
			t.Logf("the manager's log:\n%s", p.log.String())
		}
	})
	return p
}

func (p *process) waitReady(t *testing.T) {
	t.Helper()
	eventually(t, func(ctx context.Context) error {
		select {
		case <-p.exited:
			return errors.New("the manager has ended")
		default:
		}
		status, body, err := get(ctx, p.health, "/readyz")
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("not ready: %s", body)
		}
		return err
	})
}

func (p *process) get(t *testing.T, address, path string) string {
	t.Helper()
	status, body, err := get(t.Context(), address, path)
	if err != nil || status != http.StatusOK {
		t.Fatalf("GET %s: %d %v", path, status, err)
	}
	return body
}

// stop asks the manager to end, as a kubelet does, and returns its exit code.
func (p *process) stop(t *testing.T) int {
	t.Helper()
	must(t, p.command.Process.Signal(syscall.SIGTERM))
	return p.wait(t)
}

func (p *process) wait(t *testing.T) int {
	t.Helper()
	select {
	case <-p.exited:
		return p.command.ProcessState.ExitCode()
	case <-time.After(patience):
		t.Fatalf("the manager still runs after %s", patience)
		return -1
	}
}

func get(ctx context.Context, address, path string) (int, string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+path, nil)
	if err != nil {
		return 0, "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return response.StatusCode, string(body), err
}

// install applies what the manager needs around it, as config/ has it.
func install(t *testing.T) client.Client {
	t.Helper()
	scheme := runtime.NewScheme()
	must(t, errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)))
	api, err := client.New(cluster.Config, client.Options{Scheme: scheme})
	must(t, err)
	for _, file := range []string{
		"rbac/00-namespace.yaml", "rbac/own_namespace_role.yaml", "rbac/role.yaml", "rbac/role_binding.yaml", "rbac/service_account.yaml",
		"manager/service.yaml", "webhook/mutating_webhook.yaml",
	} {
		apply(t, api, "", file)
	}
	return api
}

func apply(t *testing.T, api client.Client, namespace, file string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(controlplane.Root(), "config", file))
	must(t, err)
	for decoder := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(data), 4096); ; {
		var object unstructured.Unstructured
		if err := decoder.Decode(&object); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
		if namespace != "" {
			object.SetNamespace(namespace)
		}
		if err := api.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(&object), client.FieldOwner("test")); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
	}
}

func createInjectedPod(ctx context.Context, api client.Client) error {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "default", GenerateName: "sample-",
			Labels: map[string]string{"app": "sample", v1alpha1.LabelInject: v1alpha1.LabelInjectEnabled},
		},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "example.com/app:1"}}},
	}
	if err := api.Create(ctx, pod); err != nil {
		return err
	}
	if !inject.Injected(pod) {
		return errors.New("the pod has no sidecar")
	}
	return nil
}

func freePort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer listener.Close()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	must(t, err)
	return port
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually tries until there is no error.
func eventually(t *testing.T, try func(context.Context) error) {
	t.Helper()
	var last error
	err := wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
		last = try(ctx)
		return last == nil, nil
	})
	if err != nil {
		t.Fatalf("not within %s: %v", patience, last)
	}
}
