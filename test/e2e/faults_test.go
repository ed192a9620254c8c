//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	sidecar = "latchkey"
	// meanwhile is how many requests must be answered well while something is broken: some seconds of traffic.
	meanwhile = 500
)

func TestAKilledSidecarFailsClosedAndComesBack(t *testing.T) {
	a := quickstart(t, "killed-sidecar", 1)
	token, pod := a.signIn("alice").access, a.pods()[0]
	address := a.addresses()[0]

	node(t, "kill", a.namespace, pod.Name, sidecar)
	killed := time.Now()
	refused := 0
	eventually(t, func(ctx context.Context) error {
		// Nobody may pass without a token, at any moment.
		switch got, err := get(ctx, address+"/", ""); {
		case err != nil:
			refused++
		case got.status < 400:
			t.Fatalf("%s after the sidecar was killed, a request without a token got %d", time.Since(killed), got.status)
		}
		got, err := get(ctx, address+"/", token)
		if err != nil {
			return err
		}
		return got.is(http.StatusOK)
	})
	t.Logf("back after %s; %d requests were refused meanwhile", time.Since(killed).Round(time.Millisecond), refused)

	var after corev1.Pod
	eventually(t, func(context.Context) error { // the kubelet tells the API server a moment later
		after = a.pods()[0]
		if got, want := restarts(after, sidecar), restarts(pod, sidecar)+1; after.UID != pod.UID || got != want {
			return fmt.Errorf("the sidecar of pod %s has restarted %d times, want %d in pod %s", after.Name, got, want, pod.Name)
		}
		return nil
	})
	if got := restarts(after, "app"); got != 0 {
		t.Errorf("the app has restarted %d times, want none", got)
	}
}

func TestASignOutIsStillInForceAfterTheSidecarWasKilled(t *testing.T) {
	a := quickstart(t, "killed-signout", 1)
	s, pod, address := a.signIn("alice"), a.pods()[0], a.addresses()[0]
	must(t, logout(t.Context(), a.service(), s))
	a.inForce(time.Now(), []string{address}, "/", s.access, http.StatusUnauthorized)
	other := a.signIn("alice")

	node(t, "kill", a.namespace, pod.Name, sidecar)
	eventually(t, func(ctx context.Context) error {
		if got, err := get(ctx, address+"/", s.access); err == nil && got.status == http.StatusOK {
			t.Fatal("a token that was signed out passed after the restart")
		}
		got, err := get(ctx, address+"/", other.access)
		if err != nil {
			return err
		}
		return got.is(http.StatusOK)
	})
}

func TestPodsServeOnWhileTheManagersAreKilledAndChangesArriveAfterwards(t *testing.T) {
	a := quickstart(t, "killed-manager", 2)
	managers := client.MatchingLabels{"app.kubernetes.io/component": "manager"}
	running, err := pods(t.Context(), system, managers, 2)
	must(t, err)
	people := startTraffic(a, 4)
	people.awaitMore(100)
	for _, pod := range running {
		node(t, "kill", system, pod.Name, "manager")
	}
	people.awaitMore(meanwhile)
	eventually(t, func(ctx context.Context) error {
		_, err := pods(ctx, system, managers, 2)
		return err
	})
	a.changeArrives()
	people.stop()
}

func TestPodsServeOnWhileTheAPIServerIsDownAndChangesArriveAfterwards(t *testing.T) {
	a := quickstart(t, "apiserver-down", 2)
	people := startTraffic(a, 4)
	address := a.service()
	people.awaitMore(100)
	node(t, "stop", "kube-apiserver")
	t.Cleanup(func() { node(t, "start", "kube-apiserver") })
	people.awaitMore(meanwhile)
	if _, err := login(t.Context(), address, "alice"); err != nil {
		t.Errorf("nobody can sign in: %v", err)
	}
	node(t, "start", "kube-apiserver")
	a.changeArrives()
	people.stop()
}

func TestPodsServeOnWhileTheKubeletAndContainerdRestartAndChangesArriveAfterwards(t *testing.T) {
	a := quickstart(t, "kubelet-restart", 2)
	before := a.pods()
	people := startTraffic(a, 4)
	people.awaitMore(100)
	node(t, "restart", "containerd", "kubelet")
	people.awaitMore(meanwhile)
	a.changeArrives()
	people.stop()
	for i, pod := range a.pods() {
		if pod.UID != before[i].UID || restarts(pod, sidecar) != 0 || restarts(pod, "app") != 0 {
			t.Errorf("pod %s was restarted", pod.Name)
		}
	}
}

// changeArrives changes the policy, and waits until all pods obey: who has signed in as alice is no admin any more.
func (a *app) changeArrives() {
	a.Helper()
	token := a.signIn("alice").access
	changed := a.patch("AuthPolicy", `{"spec":{"rules":[{"paths":[{"prefix":"/admin"}],"claims":[{"claim":"roles","anyOf":["nobody"]}]}]}}`)
	addresses := a.addresses()
	eventually(a.T, func(ctx context.Context) error {
		var behind []error
		for _, address := range addresses {
			got, err := get(ctx, address+"/admin", token)
			if err == nil {
				err = got.is(http.StatusForbidden)
			}
			if err != nil {
				behind = append(behind, fmt.Errorf("%s: %w", address, err))
			}
		}
		return errors.Join(behind...)
	})
	a.Logf("a change is in force %s after it was made", time.Since(changed).Round(time.Millisecond))
}

func restarts(pod corev1.Pod, container string) int32 {
	for _, statuses := range [][]corev1.ContainerStatus{pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses} {
		for _, status := range statuses {
			if status.Name == container {
				return status.RestartCount
			}
		}
	}
	return -1
}
