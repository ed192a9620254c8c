package localnode

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	// syncPeriod is how often a kubelet refreshes the volumes of a pod that nobody touches.
	syncPeriod = time.Minute
	// retryPeriod is how often something that is missing is looked for again.
	retryPeriod = 500 * time.Millisecond
	// writeTimeout is for one write to the API server.
	writeTimeout = 5 * time.Second
)

// sandbox is one pod on this node: its address, its directories, and its processes.
type sandbox struct {
	node       *kubelet
	pod        *corev1.Pod // as it was admitted, with its address
	seen       *corev1.Pod // as the kubelet saw it last
	address    address
	dir, logs  string
	kubeconfig string // "" when the pod has no service account
	volumes    map[string]*mounted

	poked   chan struct{} // the volumes are to be refreshed now
	dirty   chan struct{} // the status has changed
	ended   chan struct{}
	stopRun func()

	mu     sync.Mutex
	report report
	kill   func() // ends what does not end by itself
}

// newSandbox begins to run a pod.
func newSandbox(node *kubelet, pod *corev1.Pod) (*sandbox, error) {
	address, err := node.addresses.Take()
	if err != nil {
		return nil, err
	}
	run, stopRun := context.WithCancel(context.Background())
	kill, killNow := context.WithCancel(context.Background())
	s := &sandbox{
		node: node, pod: pod.DeepCopy(), seen: pod, address: address,
		dir:     filepath.Join(node.dir, string(pod.UID)),
		logs:    filepath.Join(node.logs, pod.Namespace, pod.Name),
		volumes: map[string]*mounted{},
		poked:   make(chan struct{}, 1), dirty: make(chan struct{}, 1), ended: make(chan struct{}),
		stopRun: stopRun, kill: killNow,
		report: report{
			node: node.addresses.Node().String(), pod: address.Pod.String(), startTime: metav1.Now(),
			containers: map[string]corev1.ContainerStatus{},
		},
	}
	s.pod.Status.PodIP, s.pod.Status.PodIPs = s.report.pod, []corev1.PodIP{{IP: s.report.pod}}
	reporting, stopReporting := context.WithCancel(context.Background())
	var reporter sync.WaitGroup
	reporter.Go(func() { s.publish(reporting) })
	go func() {
		defer close(s.ended)
		defer killNow()
		s.run(run, kill)
		stopReporting()
		reporter.Wait()
		node.addresses.Free(address)
		if err := os.RemoveAll(s.dir); err != nil {
			node.log.Error("remove what a pod leaves behind", "pod", pod.Name, "error", err)
		}
	}()
	return s, nil
}

// refresh looks at the volumes' objects again: what a kubelet does when a pod changes.
func (s *sandbox) refresh() { signal(s.poked) }

// stop ends the pod's processes, apps before sidecars, waits at most grace for all of them, and returns when they are gone.
func (s *sandbox) stop(grace time.Duration) {
	s.stopRun()
	patience := time.AfterFunc(grace, s.kill)
	defer patience.Stop()
	<-s.ended
}

// run is the life of a pod.
func (s *sandbox) run(run, kill context.Context) {
	containers := s.prepare(run)
	if containers == nil {
		return
	}
	var background sync.WaitGroup
	defer background.Wait()
	volumes, stopVolumes := context.WithCancel(context.Background())
	defer stopVolumes()
	background.Go(func() { s.keepVolumes(volumes) })

	// Sidecars outlive the apps, and end in the reverse of the order in which they were started.
	var sidecars sync.WaitGroup
	defer sidecars.Wait()
	for _, spec := range s.pod.Spec.InitContainers {
		c := containers[spec.Name]
		if !isSidecar(spec) {
			c.restart = func(code int) bool { return code != 0 && s.pod.Spec.RestartPolicy != corev1.RestartPolicyNever }
			if c.run(run, kill) != 0 || run.Err() != nil {
				s.finish(run)
				return
			}
			continue
		}
		c.restart = func(int) bool { return true }
		sidecar, stopSidecar := context.WithCancel(context.Background())
		ended := make(chan struct{})
		sidecars.Go(func() {
			defer close(ended)
			c.run(sidecar, kill)
		})
		defer func() { stopSidecar(); <-ended }()
		sidecars.Go(func() {
			select {
			case <-run.Done():
				c.preStop(kill)
			case <-sidecar.Done():
			}
		})
		select {
		case <-c.started:
		case <-run.Done():
			return
		}
	}

	var apps sync.WaitGroup
	for _, spec := range s.pod.Spec.Containers {
		c := containers[spec.Name]
		c.restart = func(code int) bool {
			policy := s.pod.Spec.RestartPolicy
			return policy == corev1.RestartPolicyAlways || policy == corev1.RestartPolicyOnFailure && code != 0
		}
		apps.Go(func() { c.run(run, kill) })
	}
	apps.Wait()
	s.finish(run)
}

// prepare gets ready all that the containers need, and waits for what is not there yet. It returns nil when run ends first.
func (s *sandbox) prepare(run context.Context) map[string]*container {
	for {
		containers, err := s.tryPrepare(run)
		if err == nil {
			s.change(func(r *report) { r.problem = "" })
			return containers
		}
		s.change(func(r *report) { r.problem = err.Error() })
		select {
		case <-run.Done():
			return nil
		case <-time.After(retryPeriod):
		case <-s.poked:
		}
	}
}

func (s *sandbox) tryPrepare(ctx context.Context) (map[string]*container, error) {
	if s.pod.Spec.HostNetwork {
		return nil, errors.New("hostNetwork is not played by this node")
	}
	if err := errors.Join(os.MkdirAll(s.dir, 0o700), os.MkdirAll(s.logs, 0o700)); err != nil {
		return nil, err
	}
	var err error
	for _, volume := range s.pod.Spec.Volumes {
		if s.volumes[volume.Name] == nil {
			if s.volumes[volume.Name], err = newMounted(s.dir, s.node.claims, s.pod.Namespace, volume); err != nil {
				return nil, err
			}
		}
	}
	if err = s.refreshVolumes(ctx); err != nil {
		return nil, err
	}
	if s.kubeconfig, err = s.serviceAccount(ctx); err != nil {
		return nil, err
	}
	containers := map[string]*container{}
	for _, spec := range append(s.pod.Spec.InitContainers, s.pod.Spec.Containers...) {
		c, err := newContainer(s.pod, spec, s)
		if err != nil {
			return nil, err
		}
		c.update = func(change func(*corev1.ContainerStatus)) {
			s.change(func(r *report) {
				status := r.containers[spec.Name]
				change(&status)
				r.containers[spec.Name] = status
			})
		}
		containers[spec.Name] = c
	}
	return containers, nil
}

func (s *sandbox) refreshVolumes(ctx context.Context) error {
	var all error
	for _, volume := range s.volumes {
		all = errors.Join(all, volume.refresh(ctx, s.node.live, s.pod.Namespace))
	}
	return all
}

// keepVolumes refreshes the volumes, and the service account's token with them, when the pod is poked and once in syncPeriod.
func (s *sandbox) keepVolumes(ctx context.Context) {
	ticker := time.NewTicker(syncPeriod)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.poked:
		case <-ticker.C:
		}
		// What cannot be read now stays as it is, as on a real node; the next turn comes soon enough.
		_, err := s.serviceAccount(ctx)
		if err = errors.Join(s.refreshVolumes(ctx), err); err != nil && ctx.Err() == nil {
			s.node.log.Warn("refresh volumes", "pod", s.pod.Name, "error", err)
		}
	}
}

// finish notes that the pod is done, unless it was stopped.
func (s *sandbox) finish(run context.Context) {
	if run.Err() == nil {
		s.change(func(r *report) { r.finished = true })
	}
}

func (s *sandbox) change(f func(*report)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.report)
	signal(s.dirty)
}

// publish writes the pod's status whenever it has changed. When ctx ends it writes what is left to say, and returns.
func (s *sandbox) publish(ctx context.Context) {
	written := s.pod.DeepCopy()
	written.Status.PodIP, written.Status.PodIPs = "", nil
	for last := false; ; last = ctx.Err() != nil {
		s.mu.Lock()
		next := written.DeepCopy()
		next.Status = podStatus(s.pod.Spec, s.report, written.Status, metav1.Now())
		s.mu.Unlock()
		var retry <-chan time.Time
		if !equality.Semantic.DeepEqual(next.Status, written.Status) {
			if err := s.writeStatus(next, written); err == nil {
				written = next
			} else {
				retry = time.After(retryPeriod)
			}
		}
		if last {
			return
		}
		select {
		case <-ctx.Done():
		case <-s.dirty:
		case <-retry:
		}
	}
}

func (s *sandbox) writeStatus(next, before *corev1.Pod) error {
	ctx, cancel := context.WithTimeout(context.Background(), writeTimeout)
	defer cancel()
	err := s.node.client.Status().Patch(ctx, next.DeepCopy(), client.MergeFrom(before))
	return client.IgnoreNotFound(err) // a pod that is gone needs no status
}

// signal wakes whoever waits on a channel of size one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
