//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/test/controlplane"
)

const (
	system = "latchkey-system"
	// patience bounds every wait; nothing waits for it to pass. A machine may be busy with other things.
	patience = 3 * time.Minute
	// attempt bounds what may well be in vain and is tried again.
	attempt = 10 * time.Second
)

var (
	// kube changes the cluster as an administrator, without types: as kubectl does.
	kube client.Client
	// logs reads what containers have written.
	logs *kubernetes.Clientset
)

func TestMain(m *testing.M) {
	if err := connect(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if err := leave(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "cleaning up:", err)
	}
	os.Exit(code)
}

func connect() error {
	if os.Getenv("KUBECONFIG") == "" {
		return errors.New("KUBECONFIG is not set: run `make e2e`")
	}
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(clientcmd.NewDefaultClientConfigLoadingRules(), nil).ClientConfig()
	if err != nil {
		return err
	}
	config.QPS = -1 // the tests measure, and must not wait for themselves
	if kube, err = client.New(config, client.Options{}); err != nil {
		return err
	}
	if logs, err = kubernetes.NewForConfig(config); err != nil {
		return err
	}
	var namespace corev1.Namespace
	if err := kube.Get(context.Background(), client.ObjectKey{Name: system}, &namespace); !apierrors.IsNotFound(err) {
		return errors.Join(err, fmt.Errorf("namespace %s is there already: the tests install Latchkey and remove it, and must not touch one that is in use", system))
	}
	return nil
}

// leave removes what the tests brought into the cluster.
func leave(ctx context.Context) error {
	if err := errors.Join(remove(ctx), letGo(ctx)); err != nil {
		return err
	}
	if _, err := output(ctx, "kubectl", "delete", "--ignore-not-found", "namespace", system); err != nil {
		return err
	}
	_, err := output(ctx, "kubectl", "delete", "--ignore-not-found", "-k", "config/crd")
	return err
}

// letGo takes the finalizer off SigningKeys that are being deleted: without managers nobody else does.
func letGo(ctx context.Context) error {
	keys := &unstructured.UnstructuredList{}
	keys.SetAPIVersion("auth.latchkey.dev/v1alpha1")
	keys.SetKind("SigningKeyList")
	err := kube.List(ctx, keys)
	for i := range keys.Items {
		err = errors.Join(err, client.IgnoreNotFound(kube.Patch(ctx, &keys.Items[i], client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`)))))
	}
	if meta.IsNoMatchError(err) { // the kinds are gone as well
		return nil
	}
	return err
}

// installed is what Latchkey came from: "", "config", "chart" or "previous chart".
var installed string

// install puts Latchkey into the cluster, from the files that users apply, and waits until it works. What another way has installed is
// removed first.
func install(t *testing.T, way string) {
	t.Helper()
	if installed == way {
		return
	}
	uninstall(t)
	if way != "config" {
		must(t, leave(t.Context())) // a chart brings its own kinds
	}
	installed = way
	defer func() {
		if t.Failed() {
			_ = remove(context.Background()) // the next test tries again
		}
	}()
	switch way {
	case "config":
		run(t, "kubectl", "apply", "-k", "config/default")
	case "chart":
		run(t, "go", helm("install", "latchkey", "charts/latchkey", "--namespace", system, "--create-namespace", "--wait", "--timeout", patience.String())...)
	case "previous chart":
		run(t, "go", helm("install", "latchkey", os.Getenv("LATCHKEY_E2E_PREVIOUS"), "--set", "image.tag=previous", "--namespace", system, "--create-namespace", "--wait", "--timeout", patience.String())...)
	}
	run(t, "kubectl", "--namespace", system, "rollout", "status", "deployment/latchkey-manager", "--timeout", patience.String())
}

// part is one of the tests that run side by side: each has namespaces of its own, and breaks nothing of the node.
type part struct {
	name string
	run  func(*testing.T)
}

func sideBySide(t *testing.T, parts []part) {
	t.Helper()
	if installed == "" {
		install(t, "config")
	}
	for _, p := range parts {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			p.run(t)
		})
	}
}

// upgrade goes from the previous chart to this one.
func upgrade(t *testing.T) {
	t.Helper()
	run(t, "go", helm("upgrade", "latchkey", "charts/latchkey", "--take-ownership", "--force-conflicts", "--reset-values", "--namespace", system,
		"--wait", "--timeout", patience.String())...)
	installed = "chart"
}

// uninstall removes Latchkey, but not its kinds: with them all objects would go.
func uninstall(t *testing.T) {
	t.Helper()
	must(t, remove(t.Context()))
}

func remove(ctx context.Context) error {
	was := installed
	installed = ""
	switch was {
	case "config":
		for _, part := range []string{"webhook", "manager", "rbac"} { // the webhook first: without managers it refuses pods
			if _, err := output(ctx, "kubectl", "delete", "-k", "config/"+part); err != nil {
				return err
			}
		}
	case "chart", "previous chart":
		_, err := output(ctx, "go", helm("uninstall", "latchkey", "--namespace", system, "--wait", "--timeout", patience.String())...)
		return err
	}
	return nil
}

// helm is the arguments with which go runs helm.
func helm(args ...string) []string {
	return append([]string{"tool", "-modfile=tools/go.mod", "helm"}, args...)
}

// run runs a command in the root of the repository, and returns what it printed; not its warnings.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	printed, err := output(t.Context(), name, args...)
	must(t, err)
	return printed
}

func output(ctx context.Context, name string, args ...string) (string, error) {
	command := exec.CommandContext(ctx, name, args...)
	command.Dir = controlplane.Root()
	var printed, warnings bytes.Buffer
	command.Stdout, command.Stderr = &printed, &warnings
	if err := command.Run(); err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s%s", name, strings.Join(args, " "), err, &printed, &warnings)
	}
	return printed.String(), nil
}

// ownNode skips a test that is not for other people's nodes.
func ownNode(t *testing.T) (script string) {
	t.Helper()
	if script = os.Getenv("LATCHKEY_E2E_NODE"); script == "" {
		t.Skip("this test breaks the node, so it runs only on one that `make e2e` has brought up itself")
	}
	return script
}

// node asks the node's own script for what no cluster's API can do.
func node(t *testing.T, args ...string) string {
	t.Helper()
	script := ownNode(t)
	printed, err := output(context.Background(), script, args...) // also when the test is over, to mend what it broke
	must(t, err)
	return strings.TrimSpace(printed)
}

// objects reads the objects of YAML files, in the order of the files' names.
func objects(t *testing.T, pattern string) []*unstructured.Unstructured {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(controlplane.Root(), pattern))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %d files, %v", pattern, len(files), err)
	}
	var found []*unstructured.Unstructured
	for _, name := range files {
		file, err := os.Open(name)
		must(t, err)
		found = append(found, parsed(t, file)...)
		_ = file.Close()
	}
	return found
}

// parsed reads the objects of a YAML text, in their order.
func parsed(t *testing.T, text io.Reader) []*unstructured.Unstructured {
	t.Helper()
	var found []*unstructured.Unstructured
	for decoder := utilyaml.NewYAMLOrJSONDecoder(text, 4096); ; {
		object := &unstructured.Unstructured{}
		err := decoder.Decode(&object.Object)
		if errors.Is(err, io.EOF) {
			return found
		}
		must(t, err)
		if object.Object != nil {
			found = append(found, object)
		}
	}
}

func apply(t *testing.T, object *unstructured.Unstructured) {
	t.Helper()
	if err := kube.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(object), client.FieldOwner("e2e"), client.ForceOwnership); err != nil {
		t.Fatalf("%s %s: %v", object.GetKind(), object.GetName(), err)
	}
}

// patch changes an object, and returns when the API server has answered.
func patch(t *testing.T, kind, namespace, name, patch string) time.Time {
	t.Helper()
	object := &unstructured.Unstructured{}
	object.SetAPIVersion("auth.latchkey.dev/v1alpha1")
	object.SetKind(kind)
	object.SetNamespace(namespace)
	object.SetName(name)
	if err := kube.Patch(t.Context(), object, client.RawPatch(types.MergePatchType, []byte(patch))); err != nil {
		t.Fatalf("%s %s: %v", kind, name, err)
	}
	return time.Now()
}

// eventually tries until there is no error.
func eventually(t *testing.T, try func(context.Context) error) {
	t.Helper()
	var last error
	err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
		trying, cancel := context.WithTimeout(ctx, attempt)
		defer cancel()
		err := try(trying)
		if ctx.Err() == nil || last == nil { // else it only says that time is up
			last = err
		}
		return err == nil, nil
	})
	if err != nil {
		t.Fatalf("not within %s: %v", patience, last)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// pods are the pods with a label that are not about to go, and what is not right with them: they are n, all ready.
func pods(ctx context.Context, namespace string, label client.MatchingLabels, n int) ([]corev1.Pod, error) {
	var list corev1.PodList
	if err := kube.List(ctx, &list, client.InNamespace(namespace), label); err != nil {
		return nil, err
	}
	var found []corev1.Pod
	ready := 0
	for _, pod := range list.Items {
		if !pod.DeletionTimestamp.IsZero() {
			continue
		}
		found = append(found, pod)
		for _, condition := range pod.Status.Conditions {
			if condition.Type == corev1.PodReady && condition.Status == corev1.ConditionTrue {
				ready++
			}
		}
	}
	if len(found) != n || ready != n {
		return found, fmt.Errorf("%d pods in namespace %s with %v, %d of them ready; want %d", len(found), namespace, label, ready, n)
	}
	return found, nil
}
