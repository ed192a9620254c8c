package distribution

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

const (
	sidecarAdminPort = 15020
	issuerAdminPort  = 8081
	maxReportBytes   = 64 << 10
)

// adminPort is where a pod says what it has read; false for pods that are none of Latchkey's.
func adminPort(pod *corev1.Pod) (int, bool) {
	switch pod.Labels[v1alpha1.LabelPod] {
	case v1alpha1.LabelPodSidecar:
		return sidecarAdminPort, true
	case v1alpha1.LabelPodIssuer:
		return issuerAdminPort, true
	}
	return 0, false
}

// running reports whether the pod has volumes that a kubelet may refresh.
func running(pod *corev1.Pod) bool {
	return pod.DeletionTimestamp.IsZero() && pod.Status.PodIP != "" &&
		pod.Status.Phase != corev1.PodSucceeded && pod.Status.Phase != corev1.PodFailed
}

func ready(pod *corev1.Pod) bool {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}

// untrustedReport is what a pod says. A pod that lies harms itself alone: it is not brought up to date.
type untrustedReport struct {
	Volumes map[string]struct {
		Applied  string `json:"applied"`
		Rejected string `json:"rejected"`
	} `json:"volumes"`
}

// has reports whether the pod has read all that it should have. What it rejected has arrived as well: sending it again helps nobody.
func (r untrustedReport) has(wanted map[string]string) bool {
	for name, hash := range wanted {
		if volume := r.Volumes[name]; volume.Applied != hash && volume.Rejected != hash {
			return false
		}
	}
	return true
}

// admin reaches pods only: no proxy, no redirects to elsewhere, and not for long.
var admin = &http.Client{
	Timeout:       time.Second,
	Transport:     &http.Transport{Proxy: nil, DisableKeepAlives: true, MaxResponseHeaderBytes: 16 << 10},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// ask asks a pod what it has read, and reports whether it answered.
func ask(ctx context.Context, podIP string, port int) (untrustedReport, bool) {
	var report untrustedReport
	url := "http://" + net.JoinHostPort(podIP, strconv.Itoa(port)) + "/applied"
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return report, false
	}
	response, err := admin.Do(request)
	if err != nil {
		return report, false
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return report, false
	}
	err = json.NewDecoder(io.LimitReader(response.Body, maxReportBytes)).Decode(&report)
	return report, err == nil
}
