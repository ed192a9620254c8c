package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	kubeclient "sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/test/controlplane"
	"github.com/latchkey-dev/latchkey/test/installation"
	"github.com/latchkey-dev/latchkey/test/localnode"
)

// quickstart is the namespace of the example, and the name of everything in it.
const quickstart = "quickstart"

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
	for _, program := range installation.Images(d.bin()) {
		if _, err := os.Stat(program); err != nil {
			return fmt.Errorf("%s is not built: run `make demo`, or `make build` first", d.relative(program))
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
		d.kube, err = installation.Client(d.cluster.Config)
		return strings.TrimSuffix(d.cluster.Config.Host, "/"), errors.Join(err, os.WriteFile(d.kubeconfig(), d.cluster.Kubeconfig(), 0o600))
	})
}

func (d *demo) bin() string { return filepath.Join(d.root, "bin") }

func (d *demo) kubeconfig() string { return filepath.Join(d.dir, "kubeconfig") }

func (d *demo) install(ctx context.Context) error {
	return d.screen.step("config/: CRDs, RBAC, manager, webhook", func(func(string)) (string, error) {
		objects, err := installation.Install(ctx, d.kube)
		return fmt.Sprintf("%d objects", len(objects)), interrupted(ctx, err)
	})
}

func (d *demo) startNode(ctx context.Context) error {
	return d.screen.step("local node", func(func(string)) (string, error) {
		var err error
		d.node, err = localnode.Start(ctx, localnode.Options{
			Config: d.cluster.Config, Images: installation.Images(d.bin()), Log: slog.Default(),
			Dir: filepath.Join(os.TempDir(), "node"), LogDir: filepath.Join(d.dir, "logs"),
		})
		return "plays Deployment controller, kubelet and kube-proxy", err
	})
}

func (d *demo) waitForManager(ctx context.Context) error {
	return d.waitForDeployment(ctx, installation.Manager.Namespace, installation.Manager.Name)
}

func (d *demo) waitForDeployment(ctx context.Context, namespace, name string) error {
	return await(ctx, d.screen, "Deployment "+name, time.Minute, func() (bool, string) {
		return installation.DeploymentReady(ctx, d.kube, kubeclient.ObjectKey{Namespace: namespace, Name: name})
	})
}

func (d *demo) applyQuickstart(ctx context.Context) error {
	return d.screen.step("examples/quickstart", func(func(string)) (string, error) {
		objects, err := installation.Apply(ctx, d.kube, filepath.Join("examples", "quickstart"))
		var kinds []string
		for _, object := range objects {
			kinds = append(kinds, object.GetKind())
		}
		return strings.Join(kinds, ", "), interrupted(ctx, err)
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
		return installation.Ready(ctx, d.kube, kind, quickstartKey)
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
