package controllertest

import (
	"fmt"
	"os"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/latchkey-dev/latchkey/test/controlplane"
)

// cluster is the control plane of the test binary; nil outside of Main.
var cluster *controlplane.Cluster

// Main runs a package's tests on a control plane of their own, and exits. Call it from TestMain.
func Main(m *testing.M) {
	var err error
	if cluster, err = controlplane.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if err := cluster.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// Config reaches the API server that Main has started.
func Config() *rest.Config { return cluster.Config }
