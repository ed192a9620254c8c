//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// An upgrade as docs/operations.md has it, while people use an app. Their sessions go on; pods keep the sidecar they have, obey the new manager, and are said
// to be behind until they are made anew.
func TestPodsServeOnWhileTheChartIsUpgradedFromThePreviousOne(t *testing.T) {
	if os.Getenv("LATCHKEY_E2E_PREVIOUS") == "" {
		t.Skip("this test needs the images of the chart before, which `make e2e` packs for a cluster of its own")
	}
	install(t, "previous chart")
	a := quickstart(t, "upgrade", 2)
	s := a.signIn("alice")
	people := startVisitors(a, 4)
	people.awaitMore(100)

	upgrade(t)
	people.awaitMore(meanwhile)
	outdated := a.pods()
	eventually(t, func(ctx context.Context) error {
		message, err := a.currency(ctx, "False")
		for _, pod := range outdated {
			if err == nil && !strings.Contains(message, pod.Name) {
				err = fmt.Errorf("the condition does not name %s: %s", pod.Name, message)
			}
		}
		return err
	})
	for _, pod := range outdated {
		if got, want := pod.Spec.InitContainers[0].Image, "ghcr.io/latchkey-dev/latchkey-sidecar:previous"; got != want {
			t.Errorf("pod %s has the sidecar %s, want %s still", pod.Name, got, want)
		}
	}
	var refreshed session
	eventually(t, func(ctx context.Context) (err error) { // the token service comes back with the new image
		refreshed, err = refresh(ctx, a.service(), s)
		return err
	})
	a.changeArrives()
	people.stop()

	run(t, "kubectl", "--namespace", a.namespace, "rollout", "restart", "deployment/quickstart")
	run(t, "kubectl", "--namespace", a.namespace, "rollout", "status", "deployment/quickstart", "--timeout", patience.String())
	eventually(t, func(ctx context.Context) error {
		_, err := a.currency(ctx, "True")
		return err
	})
	a.gets(a.service()+"/", refreshed.access, http.StatusOK)
}

// currency is what the policy says of its pods' sidecars, once the condition has the status.
func (a *app) currency(ctx context.Context, status string) (message string, err error) {
	policy := &unstructured.Unstructured{}
	policy.SetAPIVersion("auth.latchkey.dev/v1alpha1")
	policy.SetKind("AuthPolicy")
	if err = kube.Get(ctx, client.ObjectKey{Namespace: a.namespace, Name: "quickstart"}, policy); err != nil {
		return "", err
	}
	conditions, _, err := unstructured.NestedSlice(policy.Object, "status", "conditions")
	for _, c := range conditions {
		if c := c.(map[string]any); c["type"] == "SidecarsCurrent" && c["status"] == status {
			return c["message"].(string), nil
		}
	}
	return "", errors.Join(err, fmt.Errorf("the policy has no condition SidecarsCurrent=%s: %v", status, conditions))
}
