//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// many pods are more than a node usually has of one app.
const many = 50

func TestAChangeReachesFiftyPodsAndNobodyElse(t *testing.T) {
	ownNode(t)
	others := quickstart(t, "bystander", 1)
	a := quickstart(t, "fifty", 1)
	began := time.Now()
	for a.replicas < many {
		a.replicas = min(a.replicas+10, many)
		run(t, "kubectl", "--namespace", a.namespace, "scale", "deployment/quickstart", "--replicas", strconv.Itoa(a.replicas))
		_ = a.pods()
	}
	t.Logf("%d pods were ready after %s", many, time.Since(began).Round(time.Second))
	a.columns(many, 0)
	a.listen()

	untouched := others.marks()
	before := pokes(t)
	const changes = 8
	apart := time.NewTicker(2 * kubeletPace) // so many pods take the kubelet longer
	took := a.changes(changes, func() { <-apart.C })
	apart.Stop()
	report(t, fmt.Sprintf("a change in %d pods", many), took)
	a.columns(many, 0)
	got := pokes(t) - before
	t.Logf("%d pods were poked %d times for %d changes", many, got, changes)
	// Once each, but for those that the kubelet has looked at meanwhile by itself; again where a machine is so busy that it takes more than a second.
	if got < changes*many/2 || got > 4*changes*many {
		t.Errorf("got %d pokes, want about %d", got, changes*many)
	}

	before = pokes(t)
	const burst = 40
	began = time.Now()
	for i := range burst {
		a.patch("AuthPolicy", fmt.Sprintf(`{"spec":{"rules":[{"paths":[{"exact":"/%d"}],"access":"Anonymous"}]}}`, i))
	}
	t.Logf("%d changes were made within %s", burst, time.Since(began).Round(time.Millisecond))
	a.inForce(time.Now(), a.addresses(), fmt.Sprintf("/%d", burst-1), "", http.StatusOK)
	a.columns(many, 0)
	got = pokes(t) - before
	t.Logf("%d pods were poked %d times for %d changes at once", many, got, burst)
	if most := many * (1 + int(4*time.Since(began).Seconds())); got > most {
		t.Errorf("got %d pokes, want no more than %d: one for each pod and quarter of a second", got, most)
	}

	if diff := cmp.Diff(others.marks(), untouched); diff != "" {
		t.Errorf("the pods and the bundle of a policy that did not change (-got +want):\n%s", diff)
	}

	// A kubelet that is away brings nothing, and everybody can see it.
	node(t, "stop", "kubelet")
	t.Cleanup(func() { node(t, "start", "kubelet") })
	a.patch("AuthPolicy", `{"spec":{"default":"Deny"}}`)
	a.columns(0, many)
	node(t, "start", "kubelet")
	a.columns(many, 0)
}

// marks are what every poke changes of the app's pods, and every write of its bundle.
func (a *app) marks() map[string]string {
	a.Helper()
	var bundle corev1.Secret
	must(a.T, kube.Get(a.Context(), client.ObjectKey{Namespace: a.namespace, Name: "quickstart-bundle"}, &bundle))
	found := map[string]string{"bundle": bundle.ResourceVersion}
	for _, pod := range a.pods() {
		found[pod.Name] = pod.Annotations["auth.latchkey.dev/volumes"]
	}
	return found
}

// columns waits until kubectl shows how many pods are in step, and how many are behind.
func (a *app) columns(inStep, behind int) {
	a.Helper()
	eventually(a.T, func(ctx context.Context) error {
		printed, err := output(ctx, "kubectl", "--namespace", a.namespace, "get", "authpolicy", "quickstart")
		if err != nil {
			return err
		}
		head, line, _ := strings.Cut(printed, "\n")
		for title, want := range map[string]int{"IN STEP": inStep, "BEHIND": behind} {
			at := strings.Index(head, title)
			if at < 0 {
				return fmt.Errorf("kubectl shows no column %s: %s", title, head)
			}
			got, _, _ := strings.Cut(line[at:], " ")
			if got != strconv.Itoa(want) {
				return fmt.Errorf("kubectl shows %s in the column %s, want %d:\n%s", got, title, want, printed)
			}
		}
		return nil
	})
}

var poked = regexp.MustCompile(`(?m)^latchkey_distribution_pokes_total (\S+)$`)

// pokes is how many patches the managers have sent to have pods refreshed.
func pokes(t *testing.T) int {
	t.Helper()
	managers, err := pods(t.Context(), system, client.MatchingLabels{"app.kubernetes.io/component": "manager"}, 2)
	must(t, err)
	sum := 0.0
	for _, pod := range managers {
		got, err := get(t.Context(), "http://"+net.JoinHostPort(pod.Status.PodIP, "8080")+"/metrics", "")
		must(t, err)
		found := poked.FindSubmatch(got.body)
		if found == nil {
			t.Fatalf("the manager %s does not count pokes", pod.Name)
		}
		n, err := strconv.ParseFloat(string(found[1]), 64)
		must(t, err)
		sum += n
	}
	return int(sum)
}
