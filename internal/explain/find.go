package explain

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

// Where says which pods are asked. The namespace is required; no pod and no policy stand for all pods with a sidecar.
type Where struct{ Namespace, Pod, Policy string }

// ErrNotFound says that every pod has answered, and none remembers the decision.
var ErrNotFound = errors.New("no pod that was asked remembers this decision: each keeps its last 256, until it ends; the access log has the id as well, " +
	"if the policy writes one (kubectl logs <pod> -c " + v1alpha1.SidecarContainerName + ")")

const (
	atOnce    = 8 // pods that are asked at the same time
	patience  = 10 * time.Second
	adminPort = "15020"
)

// Find asks the pods for a decision. With an error that is not ErrNotFound, some could not be asked, and the decision may be theirs.
func Find(ctx context.Context, config *rest.Config, where Where, id string) (*Found, error) {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	pods, err := podsOf(ctx, client, where)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx) // whoever is asked when it is found need not answer
	defer cancel()
	var asking sync.WaitGroup
	var mu sync.Mutex
	var found *Found
	var failed []error
	room := make(chan struct{}, atOnce)
	for _, pod := range pods {
		room <- struct{}{}
		asking.Go(func() {
			defer func() { <-room }()
			bounded, end := context.WithTimeout(ctx, patience)
			defer end()
			recent, err := ask(bounded, config, client, &pod)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed = append(failed, fmt.Errorf("pod %s: %w", pod.Name, err))
				return
			}
			if at := slices.IndexFunc(recent, func(d Decision) bool { return d.ID == id }); at >= 0 {
				found = &Found{Decision: recent[at], Namespace: pod.Namespace, Pod: pod.Name, Policy: pod.Labels[v1alpha1.LabelPolicy]}
				cancel()
			}
		})
	}
	asking.Wait()
	switch {
	case found != nil:
		return found, nil
	case len(failed) > 0:
		return nil, errors.Join(failed...)
	}
	return nil, ErrNotFound
}

// podsOf are the pods that run a sidecar.
func podsOf(ctx context.Context, client kubernetes.Interface, where Where) ([]corev1.Pod, error) {
	selector := labels.Set{v1alpha1.LabelPod: v1alpha1.LabelPodSidecar}
	if where.Policy != "" {
		selector[v1alpha1.LabelPolicy] = where.Policy
	}
	list, err := client.CoreV1().Pods(where.Namespace).List(ctx, metav1.ListOptions{LabelSelector: labels.SelectorFromSet(selector).String()})
	if err != nil {
		return nil, err
	}
	pods := slices.DeleteFunc(list.Items, func(pod corev1.Pod) bool {
		return where.Pod != "" && pod.Name != where.Pod || pod.Status.Phase != corev1.PodRunning
	})
	if len(pods) == 0 {
		return nil, fmt.Errorf("no pod with a sidecar runs in the namespace %s%s", where.Namespace, where.narrowed())
	}
	return pods, nil
}

func (w Where) narrowed() string {
	var by []string
	if w.Pod != "" {
		by = append(by, "of the name "+w.Pod)
	}
	if w.Policy != "" {
		by = append(by, "under the policy "+w.Policy)
	}
	return strings.Join(append([]string{""}, by...), " ")
}
