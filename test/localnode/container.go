package localnode

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	firstBackOff = time.Second
	lastBackOff  = 10 * time.Second
	// steady is how long a container must have run for its next failure to count as the first.
	steady = 30 * time.Second
)

// container is one container of a pod, ready to be run again and again.
type container struct {
	spec         corev1.Container
	program      string
	args, env    []string
	dir, logFile string
	grace        time.Duration
	restart      func(exitCode int) bool
	update       func(func(*corev1.ContainerStatus)) // changes what the pod's status says of this container

	preStop func(context.Context) // before the process is asked to end; a sidecar's at once when its pod is to end

	startup, liveness, readiness checker // nil where there is no such probe

	started     chan struct{} // closed when it was up for the first time
	onceStarted func()
}

// newContainer works out everything that a container needs, or says what it asks for that this node does not play.
func newContainer(pod *corev1.Pod, spec corev1.Container, sandbox *sandbox) (*container, error) {
	program, ok := sandbox.node.images[spec.Image]
	if !ok {
		return nil, fmt.Errorf("image %s: this node has no program for it", spec.Image)
	}
	if len(spec.Command) > 0 && filepath.Base(spec.Command[0]) != filepath.Base(program) {
		return nil, fmt.Errorf("command %q: the image's program is %s", spec.Command[0], filepath.Base(program))
	}
	if len(spec.VolumeDevices) > 0 {
		return nil, errors.New("volumeDevices are not played by this node")
	}
	preStop, err := newPreStop(spec, sandbox.address.Pod.String())
	if err != nil {
		return nil, err
	}

	env, err := environment(pod, sandbox.node.addresses.Node(), spec)
	if err != nil {
		return nil, err
	}
	local := translation{"127.0.0.1": sandbox.address.Loopback.String()}
	for _, mount := range spec.VolumeMounts {
		if mount.SubPath != "" || mount.SubPathExpr != "" {
			return nil, fmt.Errorf("mount %s: subPath is not played by this node", mount.MountPath)
		}
		local[filepath.Clean(mount.MountPath)] = sandbox.volumes[mount.Name].dir
	}
	c := &container{
		spec: spec, program: program, dir: sandbox.dir,
		logFile: filepath.Join(sandbox.logs, spec.Name+".log"),
		grace:   gracePeriod(pod),
		preStop: preStop,
		started: make(chan struct{}),
	}
	c.onceStarted = sync.OnceFunc(func() { close(c.started) })
	args := slices.Clone(spec.Args)
	if len(spec.Command) > 0 {
		args = slices.Concat(spec.Command[1:], args)
	}
	for _, arg := range args {
		c.args = append(c.args, local.apply(expand(arg, env)))
	}
	c.env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + sandbox.dir, "TMPDIR=" + sandbox.dir, "HOSTNAME=" + pod.Name}
	for name, value := range env {
		c.env = append(c.env, name+"="+local.apply(value))
	}
	if sandbox.kubeconfig != "" {
		c.env = append(c.env, "KUBECONFIG="+sandbox.kubeconfig)
	}
	for _, p := range []struct {
		probe *corev1.Probe
		check *checker
	}{{spec.StartupProbe, &c.startup}, {spec.LivenessProbe, &c.liveness}, {spec.ReadinessProbe, &c.readiness}} {
		if p.probe == nil {
			continue
		}
		if *p.check, err = newChecker(p.probe, spec, sandbox.address.Pod.String()); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// run keeps the container running until it is done by its restart policy, or until run ends. Then it is asked to end; it is made to when
// kill ends. It returns the last exit code.
func (c *container) run(run, kill context.Context) int {
	backOff := firstBackOff
	for {
		began := time.Now()
		code := c.once(run, kill)
		if run.Err() != nil || !c.restart(code) {
			return code
		}
		if time.Since(began) > steady {
			backOff = firstBackOff
		}
		c.update(func(status *corev1.ContainerStatus) {
			status.LastTerminationState = status.State
			status.State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{
				Reason: "CrashLoopBackOff", Message: fmt.Sprintf("exit code %d; starting again in %s", code, backOff),
			}}
		})
		select {
		case <-run.Done():
			return code
		case <-time.After(backOff):
		}
		c.update(func(status *corev1.ContainerStatus) { status.RestartCount++ })
		backOff = min(2*backOff, lastBackOff)
	}
}

// once runs the container until it exits, and returns its exit code.
func (c *container) once(run, kill context.Context) int {
	process, err := startProcess(c.program, c.args, c.env, c.dir, c.logFile)
	began := metav1.Now()
	code, reason, message := 128, "StartError", ""
	if err == nil {
		c.update(func(status *corev1.ContainerStatus) {
			status.State = corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: began}}
			status.ContainerID = fmt.Sprintf("process://%d", process.pid)
			status.Started, status.Ready = new(false), false
		})
		healthy, unhealthy := context.WithCancel(run)
		var probes sync.WaitGroup
		probes.Go(func() { c.probe(healthy, unhealthy) })
		select {
		case <-process.exited:
		case <-healthy.Done():
			ending := time.Now()
			if !isSidecar(c.spec) {
				hook, over := context.WithCancel(kill)
				go func() {
					defer over()
					select {
					case <-process.exited:
					case <-hook.Done():
					}
				}()
				c.preStop(hook)
				over()
			}
			process.end(c.grace-time.Since(ending), kill.Done())
		}
		unhealthy()
		probes.Wait()
		code, reason = process.code, "Completed"
		if code != 0 {
			reason = "Error"
		}
	} else {
		message = err.Error()
	}
	c.update(func(status *corev1.ContainerStatus) {
		status.State = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
			ExitCode: int32(code), Reason: reason, Message: message, StartedAt: began, FinishedAt: metav1.Now(),
		}}
		status.Started, status.Ready = new(false), false
	})
	return code
}

// probe carries out the container's probes until healthy ends, and calls unhealthy when the container is to be restarted.
func (c *container) probe(healthy context.Context, unhealthy func()) {
	if c.startup != nil {
		starting, started := context.WithCancel(healthy)
		defer started()
		watch(starting, c.spec.StartupProbe, c.startup, func(ok bool, last error) {
			if !ok {
				c.say("startup probe failed: %v", last)
				unhealthy()
			}
			started()
		})
	}
	if healthy.Err() != nil {
		return
	}
	c.update(func(status *corev1.ContainerStatus) { status.Started, status.Ready = new(true), c.readiness == nil })
	c.onceStarted()
	var probes sync.WaitGroup
	if c.liveness != nil {
		probes.Go(func() {
			watch(healthy, c.spec.LivenessProbe, c.liveness, func(ok bool, last error) {
				if !ok {
					c.say("liveness probe failed: %v", last)
					unhealthy()
				}
			})
		})
	}
	if c.readiness != nil {
		probes.Go(func() {
			watch(healthy, c.spec.ReadinessProbe, c.readiness, func(ok bool, last error) {
				if !ok {
					c.say("readiness probe failed: %v", last)
				}
				c.update(func(status *corev1.ContainerStatus) { status.Ready = ok })
			})
		})
	}
	probes.Wait()
}

// say adds a line to the container's log, where whoever wonders about a restart looks first.
func (c *container) say(format string, args ...any) {
	log, err := os.OpenFile(c.logFile, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return
	}
	fmt.Fprintf(log, "localnode: "+format+"\n", args...)
	_ = log.Close()
}

func gracePeriod(pod *corev1.Pod) time.Duration {
	seconds := int64(corev1.DefaultTerminationGracePeriodSeconds)
	if pod.Spec.TerminationGracePeriodSeconds != nil {
		seconds = *pod.Spec.TerminationGracePeriodSeconds
	}
	return time.Duration(seconds) * time.Second
}
