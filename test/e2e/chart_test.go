//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTheChartWithoutValuesInstallsWhatWorksAndRemovesWhatItInstalled(t *testing.T) {
	install(t, "chart")
	a := quickstart(t, "chart", 1)
	run(t, "go", helm("test", "latchkey", "--namespace", system, "--timeout", patience.String())...)
	token := a.signIn("alice").access
	a.gets(a.service()+"/", "", http.StatusUnauthorized)
	a.gets(a.service()+"/", token, http.StatusOK)

	uninstall(t)
	a.gets(a.service()+"/", "", http.StatusUnauthorized) // pods keep what they have
	a.gets(a.service()+"/", token, http.StatusOK)
	eventually(t, func(context.Context) error { // the managers take a moment to end
		var left []string
		for _, kind := range []string{"all", "secrets", "roles", "rolebindings", "leases", "poddisruptionbudgets", "networkpolicies"} {
			left = append(left, strings.Fields(run(t, "kubectl", "get", kind, "--namespace", system, "--output", "name"))...)
		}
		for _, line := range strings.Fields(run(t, "kubectl", "get", "clusterroles,clusterrolebindings,priorityclasses,mutatingwebhookconfigurations,"+
			"validatingadmissionpolicies,validatingadmissionpolicybindings", "--output", "name")) {
			if strings.Contains(line, "latchkey") {
				left = append(left, line)
			}
		}
		slices.Sort(left)
		// docs/operations.md says so.
		if diff := cmp.Diff(left, []string{"lease.coordination.k8s.io/latchkey-manager", "secret/latchkey-ca"}); diff != "" {
			return fmt.Errorf("left behind (-got +want):\n%s", diff)
		}
		return nil
	})
}
