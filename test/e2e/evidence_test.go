//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// showWhenFailed shows, should the test fail, what happened in its namespace and what the manager and its pods said.
func showWhenFailed(t *testing.T, namespace string) {
	began := time.Now()
	t.Cleanup(func() {
		if !t.Failed() {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		var evidence strings.Builder
		for _, namespace := range []string{namespace, system} {
			showEvents(ctx, &evidence, namespace, began)
			showPods(ctx, &evidence, namespace, began)
		}
		t.Logf("what the cluster says:\n%s", &evidence)
	})
}

func showEvents(ctx context.Context, w io.Writer, namespace string, since time.Time) {
	var events corev1.EventList
	if err := kube.List(ctx, &events, client.InNamespace(namespace)); err != nil {
		fmt.Fprintf(w, "no events of %s: %v\n", namespace, err)
		return
	}
	when := func(e corev1.Event) time.Time {
		if e.LastTimestamp.IsZero() {
			return e.EventTime.Time
		}
		return e.LastTimestamp.Time
	}
	slices.SortFunc(events.Items, func(a, b corev1.Event) int { return when(a).Compare(when(b)) })
	fmt.Fprintf(w, "--- events of namespace %s\n", namespace)
	for _, e := range events.Items {
		if when(e).After(since) {
			fmt.Fprintf(w, "%s %s %s/%s %s: %s\n", when(e).Format(time.TimeOnly), e.Type, e.InvolvedObject.Kind, e.InvolvedObject.Name, e.Reason, e.Message)
		}
	}
}

func showPods(ctx context.Context, w io.Writer, namespace string, since time.Time) {
	var list corev1.PodList
	if err := kube.List(ctx, &list, client.InNamespace(namespace)); err != nil {
		fmt.Fprintf(w, "no pods of %s: %v\n", namespace, err)
		return
	}
	for _, pod := range list.Items {
		fmt.Fprintf(w, "--- pod %s/%s: %s %s\n", namespace, pod.Name, pod.Status.Phase, pod.Status.Message)
		for _, c := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
			fmt.Fprintf(w, "container %s: ready %v, %d restarts, %+v\n", c.Name, c.Ready, c.RestartCount, c.State)
			for _, previous := range []bool{true, false} {
				if previous && c.RestartCount == 0 {
					continue
				}
				text, err := logs.CoreV1().Pods(namespace).GetLogs(pod.Name, &corev1.PodLogOptions{
					Container: c.Name, Previous: previous, TailLines: ptr.To(int64(40)), SinceTime: ptr.To(metav1.NewTime(since)),
				}).DoRaw(ctx)
				if err != nil {
					text = []byte(err.Error() + "\n")
				}
				fmt.Fprintf(w, "%s", text)
			}
		}
	}
}
