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
		left := append(everything(t, "--namespace", system), slices.DeleteFunc(everything(t), func(name string) bool { return !strings.Contains(name, "latchkey") })...)
		slices.Sort(left)
		if diff := cmp.Diff(left, stays); diff != "" {
			return fmt.Errorf("left behind (-got +want):\n%s", diff)
		}
		return nil
	})
}

// stays is what docs/operations.md says, and what every namespace has.
var stays = []string{
	"configmap/kube-root-ca.crt",
	"customresourcedefinition.apiextensions.k8s.io/authpolicies.auth.latchkey.dev",
	"customresourcedefinition.apiextensions.k8s.io/signingkeys.auth.latchkey.dev",
	"customresourcedefinition.apiextensions.k8s.io/tokenissuers.auth.latchkey.dev",
	"lease.coordination.k8s.io/latchkey-manager",
	"namespace/latchkey-system",
	"secret/latchkey-ca",
	"serviceaccount/default",
}

// everything are the names of all that is in a namespace, or of all that is in none; but for events, and for what only warns that it is deprecated.
func everything(t *testing.T, namespace ...string) []string {
	t.Helper()
	kinds := slices.DeleteFunc(strings.Fields(run(t, "kubectl", "api-resources", "--verbs=list", "--output=name", fmt.Sprintf("--namespaced=%v", len(namespace) > 0))),
		func(kind string) bool {
			return slices.Contains([]string{"events", "events.events.k8s.io", "endpoints", "componentstatuses", "apiservices.apiregistration.k8s.io"}, kind)
		})
	return strings.Fields(run(t, "kubectl", append([]string{"get", strings.Join(kinds, ","), "--output=name"}, namespace...)...))
}
