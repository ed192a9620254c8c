package rotationload

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/test/installation"
)

// What is killed. Each is killed with SIGKILL, and comes back by itself: the managers as a kubelet brings them back, the others at once.
const (
	oneManager  = "one manager"
	allManagers = "all managers"
	apiServer   = "kube-apiserver"
	etcd        = "etcd"
)

// disturb kills something every few seconds: first each once, then at random, the managers more often than the others.
func disturb(ctx context.Context, i *installation.Installation, random *rand.Rand, record *record, say func(string, ...any)) {
	dice := []string{oneManager, oneManager, oneManager, allManagers, allManagers, apiServer, etcd}
	for n := 0; ; n++ {
		what := dice[random.IntN(len(dice))]
		if first := []string{allManagers, apiServer, oneManager, etcd}; n < len(first) {
			what = first[n]
		}
		if !wait(ctx, 6*time.Second+time.Duration(random.Int64N(int64(10*time.Second)))) {
			return
		}
		say("killing %s", what)
		if err := kill(ctx, i, what, random); err != nil {
			say("that was not possible: %v", err) // what never is makes the run fail in the end
			continue
		}
		record.killed(what)
	}
}

func kill(ctx context.Context, i *installation.Installation, what string, random *rand.Rand) error {
	switch what {
	case apiServer:
		return i.Cluster.RestartAPIServer(ctx)
	case etcd:
		return i.Cluster.RestartEtcd(ctx)
	}
	var pods corev1.PodList
	if err := i.Kube.List(ctx, &pods, client.InNamespace(installation.Manager.Namespace)); err != nil {
		return err
	}
	random.Shuffle(len(pods.Items), func(a, b int) { pods.Items[a], pods.Items[b] = pods.Items[b], pods.Items[a] })
	killed := 0
	for _, pod := range pods.Items {
		// The node may be about to say that it has started the process again: one that is not there is not killed.
		if pid, ok := managerOf(&pod); ok && (what == allManagers || killed == 0) {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				return err
			}
			killed++
		}
	}
	if killed == 0 {
		return fmt.Errorf("none of %d is running", len(pods.Items))
	}
	return nil
}

// managerOf is the process of a manager's pod, by the id that the local node gives its container.
func managerOf(pod *corev1.Pod) (pid int, ok bool) {
	for _, status := range pod.Status.ContainerStatuses {
		pid, err := strconv.Atoi(strings.TrimPrefix(status.ContainerID, "process://"))
		if err != nil || status.State.Running == nil {
			continue
		}
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		return pid, err == nil && bytes.Contains(line, []byte("latchkey-manager"))
	}
	return 0, false
}
