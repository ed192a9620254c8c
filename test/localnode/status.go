package localnode

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// report is what a sandbox knows of its pod.
type report struct {
	node, pod  string // addresses
	startTime  metav1.Time
	problem    string // why it cannot start yet
	finished   bool   // its app containers are done and will not be started again
	containers map[string]corev1.ContainerStatus
}

// podStatus puts a report in the words of the API. before is the status that it follows.
func podStatus(spec corev1.PodSpec, r report, before corev1.PodStatus, now metav1.Time) corev1.PodStatus {
	status := *before.DeepCopy()
	status.HostIP, status.HostIPs = r.node, []corev1.HostIP{{IP: r.node}}
	status.PodIP, status.PodIPs = r.pod, []corev1.PodIP{{IP: r.pod}}
	status.StartTime = &r.startTime
	status.InitContainerStatuses, status.ContainerStatuses = nil, nil

	initialized, ready, succeeded := true, true, true
	for _, container := range spec.InitContainers {
		c := r.container(container)
		status.InitContainerStatuses = append(status.InitContainerStatuses, c)
		if isSidecar(container) {
			initialized = initialized && c.Started != nil && *c.Started
			ready = ready && c.Ready
		} else {
			initialized = initialized && c.State.Terminated != nil && c.State.Terminated.ExitCode == 0
		}
	}
	for _, container := range spec.Containers {
		c := r.container(container)
		status.ContainerStatuses = append(status.ContainerStatuses, c)
		ready = ready && c.Ready
		succeeded = succeeded && c.State.Terminated != nil && c.State.Terminated.ExitCode == 0
	}

	// A sidecar that is restarted while the apps run does not take Initialized back.
	initialized = initialized || isTrue(before.Conditions, corev1.PodInitialized)
	status.Phase = corev1.PodPending
	switch {
	case r.finished && succeeded:
		status.Phase = corev1.PodSucceeded
	case r.finished:
		status.Phase = corev1.PodFailed
	case initialized:
		status.Phase = corev1.PodRunning
	}
	status.Conditions = setCondition(status.Conditions, corev1.PodInitialized, initialized, "ContainersNotInitialized", r.problem, now)
	status.Conditions = setCondition(status.Conditions, corev1.ContainersReady, ready, "ContainersNotReady", r.problem, now)
	status.Conditions = setCondition(status.Conditions, corev1.PodReady, ready, "ContainersNotReady", r.problem, now)
	return status
}

// container is the status of one container; one that has not been started yet is waiting.
func (r report) container(spec corev1.Container) corev1.ContainerStatus {
	status, ok := r.containers[spec.Name]
	if !ok {
		status.State.Waiting = &corev1.ContainerStateWaiting{Reason: "PodInitializing"}
		if r.problem != "" {
			status.State.Waiting = &corev1.ContainerStateWaiting{Reason: "CreateContainerError", Message: r.problem}
		}
		status.Started = new(false)
	}
	status.Name, status.Image, status.ImageID = spec.Name, spec.Image, spec.Image
	return *status.DeepCopy()
}

// isSidecar tells a native sidecar from an init container that runs once.
func isSidecar(container corev1.Container) bool {
	return container.RestartPolicy != nil && *container.RestartPolicy == corev1.ContainerRestartPolicyAlways
}

func setCondition(conditions []corev1.PodCondition, kind corev1.PodConditionType, holds bool, reason, message string, now metav1.Time) []corev1.PodCondition {
	wanted := corev1.PodCondition{Type: kind, Status: corev1.ConditionTrue, LastTransitionTime: now}
	if !holds {
		wanted.Status, wanted.Reason, wanted.Message = corev1.ConditionFalse, reason, message
	}
	for i, condition := range conditions {
		if condition.Type != kind {
			continue
		}
		if condition.Status == wanted.Status {
			wanted.LastTransitionTime = condition.LastTransitionTime
		}
		conditions[i] = wanted
		return conditions
	}
	return append(conditions, wanted)
}

func isTrue(conditions []corev1.PodCondition, kind corev1.PodConditionType) bool {
	for _, condition := range conditions {
		if condition.Type == kind {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}

// Ready says whether a pod serves: its condition Ready is true and it is not on its way out.
func Ready(pod *corev1.Pod) bool {
	return pod.DeletionTimestamp == nil && isTrue(pod.Status.Conditions, corev1.PodReady)
}

// Trouble says in one line what keeps a pod from being ready, for a person who waits for it.
func Trouble(pod *corev1.Pod) string {
	for _, status := range append(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses...) {
		if waiting := status.State.Waiting; waiting != nil && waiting.Message != "" {
			return fmt.Sprintf("container %s: %s: %s", status.Name, waiting.Reason, waiting.Message)
		}
	}
	return string(pod.Status.Phase)
}
