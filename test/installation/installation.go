package installation

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/test/controlplane"
	"github.com/latchkey-dev/latchkey/test/localnode"
)

// Manager is the manager's Deployment.
var Manager = client.ObjectKey{Namespace: "latchkey-system", Name: "latchkey-manager"}

// Client reaches an API server, and knows Kubernetes' kinds and ours.
func Client(config *rest.Config) (client.WithWatch, error) {
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return nil, err
	}
	return client.NewWithWatch(config, client.Options{Scheme: scheme})
}

// Installation is a cluster in which Latchkey runs.
type Installation struct {
	Cluster *controlplane.Cluster
	Kube    client.WithWatch
	// LogDir holds what the containers print, as <namespace>/<pod>/<container>.log.
	LogDir string
	Node   *localnode.Node
}

// Start builds the programs, starts a control plane and a node, installs what config/ holds and waits for the manager. Everything is kept
// below dir, an absolute path. It takes some ten seconds once the programs are compiled. The caller stops it, and before that should have
// seen to it that nothing is left behind, should it be killed: see package guard.
func Start(ctx context.Context, dir string) (*Installation, error) {
	i := &Installation{LogDir: filepath.Join(dir, "logs")}
	if err := i.start(ctx, dir); err != nil {
		return nil, errors.Join(err, i.Stop())
	}
	return i, nil
}

func (i *Installation) start(ctx context.Context, dir string) error {
	bin := filepath.Join(dir, "bin")
	if err := errors.Join(os.MkdirAll(bin, 0o700), Build(ctx, bin)); err != nil {
		return err
	}
	file, err := os.Create(filepath.Join(dir, "localnode.log")) // left open: written to until this process ends
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(file, nil))
	ctrl.SetLogger(logr.FromSlogHandler(log.Handler()))
	klog.SetSlogLogger(log)

	if i.Cluster, err = controlplane.Start(); err != nil {
		return err
	}
	if i.Kube, err = Client(i.Cluster.Config); err != nil {
		return err
	}
	if _, err = Install(ctx, i.Kube); err != nil {
		return err
	}
	if i.Node, err = localnode.Start(ctx, localnode.Options{
		Config: i.Cluster.Config, Images: Images(bin), Dir: filepath.Join(dir, "node"), LogDir: i.LogDir, Log: log,
	}); err != nil {
		return err
	}
	_, err = Await(ctx, time.Minute, func() (bool, string) { return DeploymentReady(ctx, i.Kube, Manager) })
	if err != nil {
		return fmt.Errorf("the manager is not ready: %w", err)
	}
	return nil
}

// Stop ends every process. What they kept stays.
func (i *Installation) Stop() error {
	var err error
	if i.Node != nil {
		err = i.Node.Stop()
	}
	if i.Cluster != nil {
		err = errors.Join(err, i.Cluster.Stop())
	}
	return err
}
