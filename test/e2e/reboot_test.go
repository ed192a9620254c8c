//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// After a power cut the kubelet makes each pod anew: another network, another address, and no rules in it but those that are written again.
func TestPodsComeBackVerifyingAfterTheNodeRebooted(t *testing.T) {
	ownNode(t)
	var back []func()
	for _, a := range []*app{quickstart(t, "reboot-redirect", 1, byRedirect), quickstart(t, "reboot-loopback", 1)} {
		signedIn, signedOut, pod := a.signIn("alice"), a.signIn("alice"), a.pods()[0]
		must(t, logout(t.Context(), a.service(), signedOut))
		a.inForce(time.Now(), a.addresses(), "/", signedOut.access, http.StatusUnauthorized)
		back = append(back, func() { a.isBack(pod, signedIn, signedOut) })
	}
	began := time.Now()
	node(t, "reboot")
	t.Logf("the node has rebooted after %s", time.Since(began).Round(time.Millisecond))
	for _, check := range back {
		check()
	}
}

// isBack waits until the app's pod has started anew, and tries every way to it.
func (a *app) isBack(pod corev1.Pod, signedIn, signedOut session) {
	a.Helper()
	eventually(a.T, func(ctx context.Context) error {
		found, err := pods(ctx, a.namespace, appLabel, 1)
		if err != nil {
			return err
		}
		if found[0].UID != pod.UID {
			a.Fatalf("pod %s was replaced by %s, want it started anew", pod.Name, found[0].Name)
		}
		if found[0].Status.PodIP == pod.Status.PodIP || restarts(found[0], "app") != 1 {
			return fmt.Errorf("pod %s has not been started anew yet", pod.Name)
		}
		return nil
	})
	for _, way := range a.ways() {
		for what, test := range map[string]struct {
			token string
			want  int
		}{
			"without a token":                     {"", http.StatusUnauthorized},
			"with a token from before":            {signedIn.access, http.StatusOK},
			"with one that was signed out before": {signedOut.access, http.StatusUnauthorized},
		} {
			eventually(a.T, func(ctx context.Context) error { // kube-proxy takes a moment
				got, err := way.try(ctx, test.token)
				if err != nil {
					return fmt.Errorf("%s: %w", way.name, err)
				}
				if got != test.want {
					a.Errorf("%s, %s: got %d, want %d", way.name, what, got, test.want)
				}
				return nil
			})
		}
	}
	a.changeArrives()
}
