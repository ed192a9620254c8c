package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	kubeclient "sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/test/controlplane"
	"github.com/latchkey-dev/latchkey/test/localnode"
)

const (
	system     = "latchkey-system"
	quickstart = "quickstart" // the namespace of the example, and the name of everything in it
)

// programs are the images that the objects name, and what `make demo` builds of them.
var programs = map[string]string{
	"ghcr.io/latchkey-dev/latchkey-manager:dev": "latchkey-manager",
	"ghcr.io/latchkey-dev/latchkey-sidecar:dev": "latchkey-sidecar",
	"ghcr.io/latchkey-dev/latchkey-issuer:dev":  "latchkey-issuer",
	"ghcr.io/latchkey-dev/quickstart-app:dev":   "quickstart-app",
}

// demo is everything that runs, and what the checks pass on to each other.
type demo struct {
	findings findings
	screen   *screen
	root     string
	dir      string // what is worth keeping: logs, kubeconfig, variables
	cluster  *controlplane.Cluster
	node     *localnode.Node
	kube     kubeclient.Client
	vars     *variables
	results  []result
}

// setUp brings everything up. The demo it returns is torn down by the caller, also after an error.
func setUp(ctx context.Context, screen *screen) (*demo, error) {
	d := &demo{screen: screen, root: controlplane.Root()}
	screen.title("Latchkey: the main job, on a real API server")
	screen.note("No root, no containers, no network but loopback. What the cluster's objects prescribe runs as processes of this machine.\n")
	for _, step := range []func(context.Context) error{d.prepare, d.startCluster, d.install, d.startNode, d.waitForManager, d.applyQuickstart, d.waitForQuickstart} {
		if err := step(ctx); err != nil {
			return d, err
		}
		if ctx.Err() != nil {
			return d, ctx.Err()
		}
	}
	return d, nil
}

func (d *demo) prepare(context.Context) error {
	for _, program := range programs {
		if _, err := os.Stat(filepath.Join(d.root, "bin", program)); err != nil {
			return fmt.Errorf("bin/%s is not built: run `make demo`, or `make build` first", program)
		}
	}
	dir, err := claimOutput(filepath.Join(d.root, "test", "output"))
	if err != nil {
		return err
	}
	d.dir = dir
	log, err := os.OpenFile(filepath.Join(dir, "localnode.log"), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	slog.SetDefault(slog.New(slog.NewTextHandler(log, nil)))
	ctrl.SetLogger(logr.FromSlogHandler(slog.Default().Handler()))
	klog.SetSlogLogger(slog.Default())
	d.vars = &variables{file: filepath.Join(dir, "vars"), values: map[string]string{}}
	return nil
}

// claimOutput empties and returns the directory demo, or demo-2 and so on where other demos of this tree are still running.
func claimOutput(output string) (string, error) {
	if err := os.MkdirAll(output, 0o755); err != nil {
		return "", err
	}
	for n := 1; ; n++ {
		dir := filepath.Join(output, "demo")
		if n > 1 {
			dir = fmt.Sprintf("%s-%d", dir, n)
		}
		lock, err := os.OpenFile(dir+".lock", os.O_CREATE|os.O_WRONLY, 0o600) // left open: the lock is held until this process ends
		if err != nil {
			return "", err
		}
		if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			return dir, errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o700))
		}
		_ = lock.Close()
	}
}

func (d *demo) startCluster(context.Context) error {
	return d.screen.step("etcd and kube-apiserver", func(func(string)) (string, error) {
		var err error
		if d.cluster, err = controlplane.Start(); err != nil {
			return "", err
		}
		scheme := runtime.NewScheme()
		if err = errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
			return "", err
		}
		d.kube, err = kubeclient.New(d.cluster.Config, kubeclient.Options{Scheme: scheme})
		return strings.TrimSuffix(d.cluster.Config.Host, "/"), errors.Join(err, os.WriteFile(d.kubeconfig(), d.cluster.Kubeconfig(), 0o600))
	})
}

func (d *demo) kubeconfig() string { return filepath.Join(d.dir, "kubeconfig") }

func (d *demo) install(ctx context.Context) error {
	return d.screen.step("config/: CRDs, RBAC, manager, webhook", func(func(string)) (string, error) {
		n := 0
		for _, part := range []string{"crd", "rbac", "manager", "webhook"} {
			objects, err := d.apply(ctx, filepath.Join("config", part))
			if err != nil {
				return "", err
			}
			n += len(objects)
		}
		return fmt.Sprintf("%d objects", n), nil
	})
}

func (d *demo) startNode(ctx context.Context) error {
	return d.screen.step("local node", func(func(string)) (string, error) {
		images := map[string]string{}
		for image, program := range programs {
			images[image] = filepath.Join(d.root, "bin", program)
		}
		var err error
		d.node, err = localnode.Start(ctx, localnode.Options{
			Config: d.cluster.Config, Images: images, Log: slog.Default(),
			Dir: filepath.Join(os.TempDir(), "node"), LogDir: filepath.Join(d.dir, "logs"),
		})
		return "plays Deployment controller, kubelet and kube-proxy", err
	})
}

func (d *demo) waitForManager(ctx context.Context) error {
	return d.waitForDeployment(ctx, system, "latchkey-manager")
}

func (d *demo) waitForDeployment(ctx context.Context, namespace, name string) error {
	return await(ctx, d.screen, "Deployment "+name, time.Minute, func() (bool, string) {
		var deployment appsv1.Deployment
		if err := d.kube.Get(ctx, kubeclient.ObjectKey{Namespace: namespace, Name: name}, &deployment); err != nil {
			return false, err.Error()
		}
		status := deployment.Status
		ready := fmt.Sprintf("%d of %d ready", status.ReadyReplicas, *deployment.Spec.Replicas)
		if status.ObservedGeneration == deployment.Generation && status.ReadyReplicas == *deployment.Spec.Replicas {
			return true, ready
		}
		return false, ready + d.troubleWith(ctx, deployment)
	})
}

// troubleWith says what keeps a Deployment from being ready, where something is known about that.
func (d *demo) troubleWith(ctx context.Context, deployment appsv1.Deployment) string {
	for _, condition := range deployment.Status.Conditions {
		if condition.Type == appsv1.DeploymentReplicaFailure {
			return "; " + condition.Message
		}
	}
	var pods corev1.PodList
	if err := d.kube.List(ctx, &pods, kubeclient.InNamespace(deployment.Namespace), kubeclient.MatchingLabels(deployment.Spec.Selector.MatchLabels)); err != nil {
		return "; " + err.Error()
	}
	for _, pod := range pods.Items {
		if !localnode.Ready(&pod) {
			return "; " + localnode.Trouble(&pod)
		}
	}
	return ""
}

func (d *demo) applyQuickstart(ctx context.Context) error {
	return d.screen.step("examples/quickstart", func(func(string)) (string, error) {
		objects, err := d.apply(ctx, filepath.Join("examples", "quickstart"))
		var kinds []string
		for _, object := range objects {
			kinds = append(kinds, object.GetKind())
		}
		return strings.Join(kinds, ", "), err
	})
}

// waitForQuickstart waits for what the user of these objects would wait for: their conditions, and the app's pod.
func (d *demo) waitForQuickstart(ctx context.Context) error {
	for _, kind := range []string{"SigningKey", "TokenIssuer", "AuthPolicy"} {
		if err := d.waitForReady(ctx, kind); err != nil {
			return err
		}
	}
	if err := d.waitForDeployment(ctx, quickstart, quickstart); err != nil {
		return err
	}
	var service corev1.Service
	if err := d.kube.Get(ctx, quickstartKey, &service); err != nil {
		return err
	}
	d.showPods(ctx)
	return d.vars.set("APP", "http://"+net.JoinHostPort(service.Spec.ClusterIP, fmt.Sprint(service.Spec.Ports[0].Port)))
}

var quickstartKey = kubeclient.ObjectKey{Namespace: quickstart, Name: quickstart}

func (d *demo) waitForReady(ctx context.Context, kind string) error {
	return await(ctx, d.screen, kind+" "+quickstart, time.Minute, func() (bool, string) {
		object := &unstructured.Unstructured{}
		object.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind))
		if err := d.kube.Get(ctx, quickstartKey, object); err != nil {
			return false, err.Error()
		}
		var status struct {
			Status struct {
				Conditions []metav1.Condition `json:"conditions"`
			} `json:"status"`
		}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &status); err != nil {
			return false, err.Error()
		}
		ready := apimeta.FindStatusCondition(status.Status.Conditions, v1alpha1.ConditionReady)
		switch {
		case ready == nil:
			return false, "no word from the manager yet"
		case ready.Status != metav1.ConditionTrue || ready.ObservedGeneration != object.GetGeneration():
			return false, ready.Reason + ": " + ready.Message
		}
		return true, "Ready"
	})
}

// showPods shows what runs, where, in the words of the objects.
func (d *demo) showPods(ctx context.Context) {
	var pods corev1.PodList
	if err := d.kube.List(ctx, &pods); err != nil {
		return
	}
	d.screen.blank()
	d.screen.note("  " + pad("NAMESPACE", 17) + pad("POD", 46) + pad("ADDRESS", 14) + "CONTAINERS")
	for _, pod := range pods.Items {
		var containers []string
		for _, container := range pod.Spec.InitContainers {
			containers = append(containers, container.Name+" (sidecar, injected)")
		}
		for _, container := range pod.Spec.Containers {
			containers = append(containers, container.Name)
		}
		d.screen.line(plain, "  "+pad(pod.Namespace, 17)+pad(pod.Name, 46)+pad(pod.Status.PodIP, 14)+strings.Join(containers, ", "))
	}
}

// apply applies every YAML file of a directory in the order of their names, as kubectl does; kustomize's own files are for kustomize.
func (d *demo) apply(ctx context.Context, dir string) ([]*unstructured.Unstructured, error) {
	files, err := fs.Glob(os.DirFS(d.root), filepath.Join(dir, "*.yaml"))
	if err != nil {
		return nil, err
	}
	var all []*unstructured.Unstructured
	for _, file := range files {
		if filepath.Base(file) == "kustomization.yaml" {
			continue
		}
		objects, err := readObjects(filepath.Join(d.root, file))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		for _, object := range objects {
			if err := rememberApplied(object); err != nil {
				return nil, fmt.Errorf("%s: %w", file, err)
			}
			if err := d.kube.Apply(ctx, kubeclient.ApplyConfigurationFromUnstructured(object), kubeclient.FieldOwner("demo"), kubeclient.ForceOwnership); err != nil {
				return nil, interrupted(ctx, fmt.Errorf("%s: %w", file, err))
			}
		}
		all = append(all, objects...)
	}
	return all, nil
}

// rememberApplied notes in an object what is applied, as kubectl does: without that, kubectl warns whoever applies the same file again.
func rememberApplied(object *unstructured.Unstructured) error {
	text, err := object.MarshalJSON()
	if err != nil {
		return err
	}
	annotations := object.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[corev1.LastAppliedConfigAnnotation] = string(text)
	object.SetAnnotations(annotations)
	return nil
}

func readObjects(file string) ([]*unstructured.Unstructured, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var objects []*unstructured.Unstructured
	for document := range strings.SplitSeq(string(text), "\n---\n") {
		object := &unstructured.Unstructured{}
		if err := yaml.UnmarshalStrict([]byte(document), &object.Object); err != nil {
			return nil, err
		}
		if len(object.Object) > 0 { // a document of comments alone is none
			objects = append(objects, object)
		}
	}
	return objects, nil
}

// tearDown ends everything, in the order in which each still finds what it needs.
func (d *demo) tearDown() {
	var err error
	if d.node != nil || d.cluster != nil {
		p := d.screen.progress("stopping everything")
		if d.node != nil {
			err = d.node.Stop()
		}
		if d.cluster != nil {
			err = errors.Join(err, d.cluster.Stop())
		}
		p.done(err, "")
	}
	if err != nil {
		d.screen.trouble(err)
	}
}
