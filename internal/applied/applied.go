// Package applied asks pods what they have applied of what the manager wrote. It knows which pods are Latchkey's, where they answer, and how far
// to believe them; it does not know what is done about the answer.
package applied

import (
	"context"
	"encoding/json"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
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

// CanAnswer reports whether a pod is one of Latchkey's and runs: it has volumes that a kubelet may refresh, and an address.
func CanAnswer(pod *corev1.Pod) bool {
	_, ok := adminPort(pod)
	return ok && pod.DeletionTimestamp.IsZero() && pod.Status.PodIP != "" &&
		pod.Status.Phase != corev1.PodSucceeded && pod.Status.Phase != corev1.PodFailed
}

// Ready reports whether requests are sent to a pod.
func Ready(pod *corev1.Pod) bool {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}

// Report is what a pod says of itself. It is not to be trusted further than that: a pod that lies harms itself alone, by not being brought
// up to date or not being waited for.
type Report struct {
	Volumes map[string]struct {
		Applied  string `json:"applied"`
		Rejected string `json:"rejected"`
		Error    string `json:"error"` // why it was rejected
	} `json:"volumes"`
	KeyIDs []string `json:"keyIDs"`
}

// Has reports whether the pod has read all that it should have: the hash of each volume's files, by the volume's name. What it rejected
// has arrived as well: sending it again helps nobody. A pod that still rejects something else has not seen yet that this is gone.
func (r Report) Has(wanted map[string]string) bool {
	for name, hash := range wanted {
		volume := r.Volumes[name]
		if volume.Rejected != hash && (volume.Applied != hash || volume.Rejected != "") {
			return false
		}
	}
	return true
}

// Rejection is what a pod would not take: the hash of a volume's files, and the pod's own words for why.
type Rejection struct{ Volume, Hash, Error string }

// Rejections lists what the pod rejects of what it should have, by the volume's name. What else it says it rejects is nothing that we know of.
func (r Report) Rejections(wanted map[string]string) []Rejection {
	var rejections []Rejection
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		if volume := r.Volumes[name]; volume.Rejected == wanted[name] {
			rejections = append(rejections, Rejection{Volume: name, Hash: volume.Rejected, Error: volume.Error})
		}
	}
	return rejections
}

// HoldsKey reports whether the pod verifies or signs with a key, or could.
func (r Report) HoldsKey(id string) bool { return slices.Contains(r.KeyIDs, id) }

// admin reaches pods only: no proxy, no redirects to elsewhere, and not for long.
var admin = &http.Client{
	Timeout:       time.Second,
	Transport:     &http.Transport{Proxy: nil, DisableKeepAlives: true, MaxResponseHeaderBytes: 16 << 10},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// Ask asks a pod what it has applied, for a second at most, and reports whether it answered.
func Ask(ctx context.Context, pod *corev1.Pod) (untrusted Report, ok bool) {
	port, _ := adminPort(pod)
	if !CanAnswer(pod) { // without an address it would be the manager that is asked
		return Report{}, false
	}
	url := "http://" + net.JoinHostPort(pod.Status.PodIP, strconv.Itoa(port)) + "/applied"
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return Report{}, false
	}
	response, err := admin.Do(request)
	if err != nil {
		return Report{}, false
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return Report{}, false
	}
	if json.NewDecoder(io.LimitReader(response.Body, maxReportBytes)).Decode(&untrusted) != nil {
		return Report{}, false
	}
	return untrusted, true
}
