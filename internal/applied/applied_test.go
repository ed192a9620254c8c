package applied_test

import (
	"context"
	"net"
	"net/http"
	"strconv"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/applied"
)

func pod(labels map[string]string, podIP string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Status: corev1.PodStatus{PodIP: podIP}}
}

// answer serves a report where a pod's admin port is.
func answer(t *testing.T, podIP string, port int, report string) {
	t.Helper()
	listener, err := net.Listen("tcp", net.JoinHostPort(podIP, strconv.Itoa(port)))
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/applied" {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write([]byte(report))
	})}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
}

func TestEachKindOfPodIsAskedWhereItAnswers(t *testing.T) {
	const sidecar, service = "127.81.0.1", "127.81.0.2"
	answer(t, sidecar, 15020, `{"volumes":{"latchkey-bundle":{"applied":"h"}},"keyIDs":["a","b"],"revocations":{"i":1}}`)
	answer(t, service, 8081, `{"volumes":{"latchkey-ring":{"applied":"h"}},"keyIDs":["a"]}`)
	sidecars, issuers := map[string]string{v1alpha1.LabelPod: v1alpha1.LabelPodSidecar}, map[string]string{v1alpha1.LabelPod: v1alpha1.LabelPodIssuer}
	for _, test := range []struct {
		name   string
		pod    *corev1.Pod
		ok     bool
		volume string
		holds  bool // key b
	}{
		{name: "a pod with a sidecar", pod: pod(sidecars, sidecar), ok: true, volume: "latchkey-bundle", holds: true},
		{name: "a token service", pod: pod(issuers, service), ok: true, volume: "latchkey-ring"},
		{name: "a pod without a label of ours", pod: pod(nil, sidecar)},
		{name: "a pod that does not listen", pod: pod(sidecars, service)},
		{name: "a pod without an address", pod: pod(sidecars, "")},
	} {
		t.Run(test.name, func(t *testing.T) {
			report, ok := applied.Ask(context.Background(), test.pod)
			if ok != test.ok {
				t.Fatalf("got an answer: %v, want %v", ok, test.ok)
			}
			if got := report.HoldsKey("b"); got != test.holds {
				t.Errorf("got that it holds the key: %v, want %v", got, test.holds)
			}
			if got := report.Has(map[string]string{test.volume: "h"}); got != test.ok {
				t.Errorf("got that it has read the volume: %v, want %v", got, test.ok)
			}
			if report.Has(map[string]string{test.volume: "another"}) {
				t.Error("got that it has read what it has not reported")
			}
		})
	}
}

func TestAPodThatStillRejectsWhatIsGoneIsBehind(t *testing.T) {
	const podIP = "127.81.0.3"
	answer(t, podIP, 15020, `{"volumes":{"latchkey-bundle":{"applied":"good","rejected":"bad","error":"why"}}}`)
	report, _ := applied.Ask(context.Background(), pod(map[string]string{v1alpha1.LabelPod: v1alpha1.LabelPodSidecar}, podIP))
	for wanted, want := range map[string]bool{"good": false, "bad": true, "another": false} {
		if got := report.Has(map[string]string{"latchkey-bundle": wanted}); got != want {
			t.Errorf("%s wanted: got that the pod is in step: %v, want %v", wanted, got, want)
		}
	}
}
