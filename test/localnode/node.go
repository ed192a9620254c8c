package localnode

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

// nodeName is what pods find in spec.nodeName.
const nodeName = "localnode"

// options are those of every controller here. Their names need not be unique: tests start several nodes in one process.
var options = controller.Options{SkipNameValidation: new(true)}

// Options say what a node needs to know. All fields are required.
type Options struct {
	// Config reaches the API server with all rights.
	Config *rest.Config
	// Images maps the images that pods name to programs of this machine.
	Images map[string]string
	// Dir takes the pods' volumes and tokens. Those of a pod are removed with it.
	Dir string
	// LogDir takes what containers print, as <namespace>/<pod>/<container>.log.
	LogDir string
	// Log is told what the node does.
	Log *slog.Logger
}

func (o Options) check() error {
	switch {
	case o.Config == nil:
		return errors.New("no Config")
	case o.Images == nil:
		return errors.New("no Images")
	case !filepath.IsAbs(o.Dir) || !filepath.IsAbs(o.LogDir):
		return fmt.Errorf("options Dir (%q) and LogDir (%q) must be absolute: processes are started elsewhere", o.Dir, o.LogDir)
	case o.Log == nil:
		return errors.New("no Log")
	}
	return nil
}

// Node is a running node.
type Node struct {
	kubelet  *kubelet
	logs     *http.Server
	services *services
	stop     context.CancelFunc
	stopped  chan error
}

// Start starts a node. It returns when the node watches the API server. The caller stops it, before the API server.
func Start(ctx context.Context, o Options) (*Node, error) {
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("localnode: %w", err)
	}
	addresses, err := claimAddresses()
	if err != nil {
		return nil, fmt.Errorf("localnode: %w", err)
	}
	n, err := start(ctx, o, addresses)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("localnode: %w", err), addresses.Release())
	}
	return n, nil
}

func start(ctx context.Context, o Options, addresses *addresses) (*Node, error) {
	logger := logr.FromSlogHandler(o.Log.Handler())
	mgr, err := ctrl.NewManager(o.Config, ctrl.Options{
		Logger:                 logger,
		BaseContext:            func() context.Context { return logr.NewContext(context.Background(), logger) },
		Metrics:                metricsserver.Options{BindAddress: "0"},
		HealthProbeBindAddress: "0",
	})
	if err != nil {
		return nil, err
	}
	cached, live := mgr.GetClient(), mgr.GetAPIReader()
	n := &Node{
		kubelet: &kubelet{
			client: cached, live: live, config: o.Config, images: o.Images,
			dir: filepath.Join(o.Dir, "pods"), logs: o.LogDir, claims: filepath.Join(o.Dir, "claims"),
			addresses: addresses, log: o.Log, sandboxes: map[types.NamespacedName]*sandbox{},
		},
		services: &services{
			client: cached, log: o.Log, listeners: map[types.NamespacedName]map[string]net.Listener{}, closing: make(chan struct{}),
		},
		stopped: make(chan error, 1),
	}
	deployments := &deployments{client: cached, live: live}
	claims := &claims{client: cached, live: live, dir: n.kubelet.claims}
	if err = errors.Join(
		n.kubelet.setup(mgr), n.services.setup(mgr), deployments.setup(mgr), claims.setup(mgr),
		mgr.Add(&collector{client: cached, live: live, log: o.Log}),
	); err != nil {
		return nil, err
	}
	if n.logs, err = n.kubelet.server(addresses.Node()); err != nil {
		return nil, err
	}
	if err = n.register(ctx, cached); err != nil {
		return nil, err
	}

	running, stop := context.WithCancel(context.Background())
	n.stop = stop
	go func() { n.stopped <- mgr.Start(running) }()
	go func() { _ = n.logs.ServeTLS(addresses.claim, "", "") }() // ends when it is closed
	if !mgr.GetCache().WaitForCacheSync(ctx) {
		return nil, errors.Join(errors.New("the API server did not answer"), n.Stop())
	}
	return n, nil
}

// Stop ends every process and frees every address, and returns when they are gone. Objects are left as they are.
func (n *Node) Stop() error {
	n.stop()
	err := <-n.stopped
	n.kubelet.stopAll()
	n.services.stop()
	return errors.Join(err, n.logs.Close(), n.kubelet.addresses.Release())
}

// VolumeDir is the directory that stands for a volume of a pod: what its containers see where they mount it.
func (n *Node) VolumeDir(pod *corev1.Pod, volume string) string {
	return filepath.Join(n.kubelet.dir, string(pod.UID), "volumes", volume)
}

// register makes the Node object, so that `kubectl get nodes` says where pods run.
func (n *Node) register(ctx context.Context, c client.Client) error {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: nodeName, Labels: map[string]string{corev1.LabelHostname: nodeName}}}
	if err := c.Create(ctx, node); client.IgnoreAlreadyExists(err) != nil {
		return fmt.Errorf("register the node: %w", err)
	}
	before := node.DeepCopy()
	node.Status = corev1.NodeStatus{
		Addresses:       []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: n.kubelet.addresses.Node().String()}},
		DaemonEndpoints: corev1.NodeDaemonEndpoints{KubeletEndpoint: corev1.DaemonEndpoint{Port: kubeletPort}},
		Capacity:        corev1.ResourceList{corev1.ResourcePods: resource.MustParse("253")},
		Conditions: []corev1.NodeCondition{{
			Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "LocalNode", Message: "pods run as processes of this machine",
			LastHeartbeatTime: metav1.Now(), LastTransitionTime: metav1.Now(),
		}},
	}
	if err := c.Status().Patch(ctx, node, client.MergeFrom(before)); err != nil {
		return fmt.Errorf("register the node: %w", err)
	}
	return nil
}
