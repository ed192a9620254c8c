// Package controlplane starts a real etcd and kube-apiserver on free loopback ports, with Latchkey's CRDs or empty, for tests and for
// the demo. It knows where the binaries are (the script build beside it puts them there), and nothing of what is done with them.
package controlplane

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// ServiceCIDR is the range that Services get their addresses from. It lies on the loopback interface, so that a process on this machine
// can listen on the very address that the cluster's objects prescribe.
const ServiceCIDR = "127.96.0.0/16"

// patience bounds each wait for a program to start or to end.
const patience = 2 * time.Minute

// Cluster is a running control plane.
type Cluster struct {
	// Config reaches the API server as system:masters.
	Config *rest.Config
	env    *envtest.Environment
	// restarted end what was started in the place of a process that was killed.
	restarted []func()
}

// Start starts a control plane with Latchkey's CRDs installed. It takes about three seconds. The caller stops it.
func Start() (*Cluster, error) {
	return start(nil, crds())
}

// StartAudited is Start with an API server that keeps an audit log: policy names the file that says of what, log the one to be written.
func StartAudited(policy, log string) (*Cluster, error) {
	return start(map[string]string{"audit-policy-file": policy, "audit-log-path": log}, crds())
}

func crds() string { return filepath.Join(Root(), "config", "crd") }

// StartEmpty starts a control plane that has nothing of Latchkey's. The caller stops it.
func StartEmpty() (*Cluster, error) {
	return start(nil)
}

// start starts an API server with these arguments beside its own, and the CRDs of some directories.
func start(arguments map[string]string, crds ...string) (*Cluster, error) {
	if os.Getenv("KUBEBUILDER_ASSETS") == "" {
		return nil, errors.New("KUBEBUILDER_ASSETS is not set: run `make test`, or `export KUBEBUILDER_ASSETS=$(test/controlplane/build)` first")
	}
	env := &envtest.Environment{
		CRDDirectoryPaths:     crds,
		ErrorIfCRDPathMissing: true,
		// On a machine that is busy with other things the API server takes longer than the 20 seconds that are allowed by default.
		ControlPlaneStartTimeout: patience,
		ControlPlaneStopTimeout:  patience,
	}
	configured := env.ControlPlane.GetAPIServer().Configure().Set("service-cluster-ip-range", ServiceCIDR)
	for name, value := range arguments {
		configured.Set(name, value)
	}
	config, err := env.Start()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start the control plane: %w", err), env.Stop())
	}
	return &Cluster{Config: config, env: env}, nil
}

// Kubeconfig returns a kubeconfig with all rights, for kubectl.
func (c *Cluster) Kubeconfig() []byte { return c.env.KubeConfig }

// Stop ends the API server and etcd and removes their data.
func (c *Cluster) Stop() error {
	for _, end := range c.restarted {
		end()
	}
	return c.env.Stop()
}

// Root is the directory of the repository, found by looking upwards from where the program was started.
func Root() string {
	dir, err := os.Getwd()
	for err == nil && dir != filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "PROJECT")); err == nil {
			return dir
		}
		dir = filepath.Dir(dir)
	}
	return "."
}
