//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/test/podnet"
)

func TestCallersGetToTheSidecar(t *testing.T) {
	ownNode(t)
	sideBySide(t, []part{
		{"by redirect, in whatever way they come", func(t *testing.T) { everyWay(t, "ways-redirect", byRedirect) }},
		{"by loopback, in whatever way they come", func(t *testing.T) { everyWay(t, "ways-loopback") }},
		{"by redirect, while pods are replaced", func(t *testing.T) { rollingRestart(t, "rolling-redirect", byRedirect) }},
		{"by loopback, while pods are replaced", func(t *testing.T) { rollingRestart(t, "rolling-loopback") }},
		{"by loopback, or an app that wants all addresses fails loudly", wildcard},
		{"and pods that work to an end come to it", jobs},
		{"in pods of every kind", kinds},
		{"and what the kubelet asks gets to the app", probesAndHooks},
	})
}

// byRedirect changes the quickstart into an app that nobody has prepared: it listens everywhere, in a namespace that forbids nothing.
func byRedirect(object *unstructured.Unstructured) {
	switch object.GetKind() {
	case "Namespace":
		object.SetLabels(nil)
	case "Deployment":
		containers, _, _ := unstructured.NestedSlice(object.Object, "spec", "template", "spec", "containers")
		containers[0].(map[string]any)["args"] = []any{"--listen=:8080"}
		_ = unstructured.SetNestedSlice(object.Object, containers, "spec", "template", "spec", "containers")
	}
}

// intercepted checks what the policy and its pods say of how callers get to the sidecar.
func (a *app) intercepted() {
	a.Helper()
	pod, reason := a.pods()[0], "LoopbackOnly"
	if pod.Spec.InitContainers[0].Name == "latchkey-redirect" {
		reason = "Redirected"
	}
	if noted := pod.Annotations["auth.latchkey.dev/interception"]; !strings.HasPrefix(reason, noted) || noted == "" {
		a.Errorf("the pod says %q of its interception, its containers say %s", noted, reason)
	}
	eventually(a.T, func(ctx context.Context) error {
		policy := &unstructured.Unstructured{}
		policy.SetAPIVersion("auth.latchkey.dev/v1alpha1")
		policy.SetKind("AuthPolicy")
		if err := kube.Get(ctx, client.ObjectKey{Namespace: a.namespace, Name: "quickstart"}, policy); err != nil {
			return err
		}
		conditions, _, err := unstructured.NestedSlice(policy.Object, "status", "conditions")
		for _, c := range conditions {
			if c := c.(map[string]any); c["type"] == "Intercepted" && c["reason"] == reason {
				return err
			}
		}
		return errors.Join(err, fmt.Errorf("the policy has no condition Intercepted with the reason %s: %v", reason, conditions))
	})
}

// way is one by which somebody may try to reach an app.
type way struct {
	name, url string
	web       *http.Client
}

// ways are those from outside the pod, and that of the pod to itself through its Service.
func (a *app) ways() []way {
	a.Helper()
	var others []corev1.Pod
	eventually(a.T, func(ctx context.Context) (err error) {
		others, err = pods(ctx, a.namespace, client.MatchingLabels{"auth.latchkey.dev/pod": "issuer"}, 1)
		return err
	})
	return ways(a.T, a.pods()[0], others[0], a.service(), "8080")
}

// ways are those to a port of a pod, which has a neighbour and a Service.
func ways(t *testing.T, pod, other corev1.Pod, service, port string) []way {
	t.Helper()
	own, others := node(t, "network", pod.Status.PodIP), node(t, "network", other.Status.PodIP)
	inside, neighbour := podnet.At(t, own), podnet.At(t, others)
	linkLocal := linkLocal(t, own)
	bridge, err := net.InterfaceByName("latchkey0")
	must(t, err)
	from := func(dial func(context.Context, string, string) (net.Conn, error)) *http.Client {
		return &http.Client{Timeout: attempt, Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
	}
	here, there, itself := from(new(net.Dialer).DialContext), from(neighbour.DialContext), from(inside.DialContext)
	url := func(address string) string { return "http://" + net.JoinHostPort(address, port) }
	on := func(link string) string { return url(linkLocal.String() + "%25" + link) } // by number: Go remembers the names of one namespace
	return []way{
		{"the node, to the pod's address", url(pod.Status.PodIP), here},
		{"the node, to its link-local address", on(strconv.Itoa(bridge.Index)), here},
		{"the node, through the Service", service, here},
		{"a neighbour, to the pod's address", url(pod.Status.PodIP), there},
		{"a neighbour, to its link-local address", on(link(t, others)), there},
		{"a neighbour, through the Service", service, there},
		{"the pod itself, through the Service", service, itself},
	}
}

// linkLocal is the address that eth0 of a namespace has by itself.
func linkLocal(t *testing.T, namespace string) netip.Addr {
	t.Helper()
	printed, err := exec.CommandContext(t.Context(), "ip", "-n", namespace, "-6", "-o", "address", "show", "dev", "eth0", "scope", "link").Output()
	must(t, err)
	found := regexp.MustCompile(`inet6 (\S+)/64`).FindSubmatch(printed)
	if found == nil {
		t.Fatalf("eth0 has no link-local address: %s", printed)
	}
	return netip.MustParseAddr(string(found[1]))
}

// link is the number of eth0 in a namespace.
func link(t *testing.T, namespace string) string {
	t.Helper()
	printed, err := exec.CommandContext(t.Context(), "ip", "-n", namespace, "-o", "link", "show", "dev", "eth0").Output()
	must(t, err)
	number, _, _ := strings.Cut(string(printed), ":")
	return number
}

// try asks, and returns the status.
func (w way) try(ctx context.Context, token string) (int, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, w.url+"/", nil)
	if err != nil {
		return 0, err
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := w.web.Do(request)
	if err != nil {
		return 0, err
	}
	_, _ = io.Copy(io.Discard, response.Body)
	_ = response.Body.Close()
	return response.StatusCode, nil
}

// everyWay tries them, also while the sidecar is being killed: nobody may ever pass without a token.
func everyWay(t *testing.T, namespace string, changes ...func(*unstructured.Unstructured)) {
	a := quickstart(t, namespace, 1, changes...)
	a.intercepted()
	token, pod, ways := a.signIn("alice").access, a.pods()[0], a.ways()
	for _, w := range ways {
		for token, want := range map[string]int{"": http.StatusUnauthorized, token: http.StatusOK} {
			eventually(t, func(ctx context.Context) error { // kube-proxy and what finds neighbours take a moment
				got, err := w.try(ctx, token)
				if err == nil && got != want {
					t.Errorf("%s, with a token: %v: got %d, want %d", w.name, token != "", got, want)
				}
				return err
			})
		}
	}

	ctx, stop := context.WithCancel(t.Context())
	var callers sync.WaitGroup
	var mu sync.Mutex
	asked, refused := 0, 0
	for _, w := range ways {
		callers.Go(func() {
			pace := time.NewTicker(5 * time.Millisecond)
			defer pace.Stop()
			for ; ctx.Err() == nil; <-pace.C {
				status, err := w.try(ctx, "")
				mu.Lock()
				asked++
				if err != nil && ctx.Err() == nil {
					refused++
				}
				mu.Unlock()
				if err == nil && status != http.StatusUnauthorized && status != http.StatusServiceUnavailable {
					t.Errorf("%s, without a token: got %d", w.name, status)
				}
			}
		})
	}
	for _, kill := range []string{"kill-children", "kill"} {
		mu.Lock()
		before := refused
		mu.Unlock()
		node(t, kill, a.namespace, pod.Name, sidecar)
		killed := time.Now()
		for _, w := range ways {
			eventually(t, func(ctx context.Context) error {
				got, err := w.try(ctx, token)
				if err == nil && got != http.StatusOK {
					err = fmt.Errorf("%s: got %d", w.name, got)
				}
				return err
			})
		}
		mu.Lock()
		t.Logf("%s: everybody is served again after %s, %d were refused meanwhile", kill, time.Since(killed).Round(time.Millisecond), refused-before)
		mu.Unlock()
		restarted := int32(0)
		if kill == "kill" {
			restarted = 1
		}
		eventually(t, func(context.Context) error {
			if got := restarts(a.pods()[0], sidecar); got != restarted {
				return fmt.Errorf("after %s the sidecar has restarted %d times, want %d", kill, got, restarted)
			}
			return nil
		})
	}
	stop()
	callers.Wait()
	t.Logf("%d requests without a token by %d ways, none passed", asked, len(ways))
	if got := restarts(a.pods()[0], "app"); got != 0 {
		t.Errorf("the app has restarted %d times, want none", got)
	}
}

// rollingRestart replaces both pods of an app under constant load through its Service: nobody may notice.
func rollingRestart(t *testing.T, namespace string, changes ...func(*unstructured.Unstructured)) {
	a := quickstart(t, namespace, 2, changes...)
	token, address := a.signIn("alice").access, a.service()
	ctx, stop := context.WithCancel(t.Context())
	var callers sync.WaitGroup
	var mu sync.Mutex
	var failures []string
	asked := map[string]int{}
	for kind, method := range map[string]string{"new connections": http.MethodGet, "kept connections": http.MethodGet, "POST on kept connections": http.MethodPost} {
		for range 2 {
			callers.Go(func() {
				own := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: kind == "new connections"}}
				pace := time.NewTicker(10 * time.Millisecond)
				defer pace.Stop()
				for ctx.Err() == nil {
					request, err := http.NewRequestWithContext(ctx, method, address+"/", nil)
					if method == http.MethodPost {
						request, err = http.NewRequestWithContext(ctx, method, address+"/", io.NopCloser(strings.NewReader("body"))) // cannot be sent again
					}
					must(t, err)
					request.Header.Set("Authorization", "Bearer "+token)
					response, err := own.Do(request)
					if err == nil {
						_, err = io.Copy(io.Discard, response.Body)
						_ = response.Body.Close()
						if err == nil && response.StatusCode != http.StatusOK {
							err = errors.New(response.Status)
						}
					}
					mu.Lock()
					if asked[kind]++; err != nil && ctx.Err() == nil {
						failures = append(failures, fmt.Sprintf("%s %s: %v", time.Now().Format(time.TimeOnly+".000"), kind, err))
					}
					mu.Unlock()
					<-pace.C
				}
			})
		}
	}
	before := a.pods()
	run(t, "kubectl", "--namespace", a.namespace, "rollout", "restart", "deployment/quickstart")
	run(t, "kubectl", "--namespace", a.namespace, "rollout", "status", "deployment/quickstart", "--timeout", patience.String())
	eventually(t, func(ctx context.Context) error { // also the end of those that are replaced
		var all corev1.PodList
		if err := kube.List(ctx, &all, client.InNamespace(a.namespace), appLabel); err != nil {
			return err
		}
		for _, pod := range all.Items {
			if slices.ContainsFunc(before, func(old corev1.Pod) bool { return old.UID == pod.UID }) {
				return fmt.Errorf("pod %s is still there", pod.Name)
			}
		}
		return nil
	})
	stop()
	callers.Wait()
	t.Logf("%v requests while both pods were replaced, %d failed", asked, len(failures))
	if len(failures) > 0 {
		t.Errorf("%d requests failed: %s", len(failures), strings.Join(failures[:min(10, len(failures))], "\n"))
	}
}

// wildcard: in a restricted namespace an app that nobody has prepared fails, and says why.
func wildcard(t *testing.T) {
	const namespace = "wildcard"
	showWhenFailed(t, namespace)
	anyapp(t, namespace, "restricted", `
apiVersion: v1
kind: Pod
metadata: {name: app, labels: {app: anyapp}}
spec:
  containers:
  - {name: app, image: ghcr.io/latchkey-dev/anyapp:dev, args: ["--listen=:8080"], `+restricted+`}
`)
	var pod corev1.Pod
	eventually(t, func(ctx context.Context) error {
		if err := kube.Get(ctx, client.ObjectKey{Namespace: namespace, Name: "app"}, &pod); err != nil {
			return err
		}
		if restarts(pod, "app") < 1 {
			return errors.New("the app has not failed yet")
		}
		return nil
	})
	eventually(t, func(ctx context.Context) error { // the kubelet removes what is long gone
		text, err := logs.CoreV1().Pods(namespace).GetLogs("app", &corev1.PodLogOptions{Container: "app"}).DoRaw(ctx)
		if err == nil && !strings.Contains(string(text), "address already in use") {
			err = fmt.Errorf("the app says %q, want why it cannot start", text)
		}
		return err
	})
	got, err := get(t.Context(), "http://"+net.JoinHostPort(pod.Status.PodIP, "8080")+"/closed", "")
	must(t, err)
	must(t, got.is(http.StatusForbidden)) // by the sidecar
}

// restricted is what the restricted Pod Security Standard asks of a container.
const restricted = `securityContext: {runAsNonRoot: true, runAsUser: 65532, allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}, seccompProfile: {type: RuntimeDefault}}`

// anyapp applies objects beside a policy that lets everybody ask for /open alone, on two ports, in a namespace of their own whose pods all get the sidecar.
func anyapp(t *testing.T, namespace, standard, text string) {
	t.Helper()
	t.Cleanup(func() {
		object := &unstructured.Unstructured{}
		object.SetAPIVersion("v1")
		object.SetKind("Namespace")
		object.SetName(namespace)
		_ = kube.Delete(context.Background(), object)
	})
	for _, object := range parsed(t, strings.NewReader(`
apiVersion: v1
kind: Namespace
metadata: {name: `+namespace+`, labels: {auth.latchkey.dev/inject: enabled, pod-security.kubernetes.io/enforce: `+standard+`}}
---
apiVersion: auth.latchkey.dev/v1alpha1
kind: AuthPolicy
metadata: {name: anyapp}
spec: {selector: {}, ports: [8080, 9090], rules: [{paths: [{prefix: /open}], access: Anonymous}]}
---
`+text)) {
		if object.GetKind() != "Namespace" {
			object.SetNamespace(namespace)
		}
		eventually(t, func(ctx context.Context) error { // the controllers make a new namespace's service account in a moment
			return kube.Apply(ctx, client.ApplyConfigurationFromUnstructured(object), client.FieldOwner("e2e"), client.ForceOwnership)
		})
	}
}

// jobs: a native sidecar keeps no Job from being complete.
func jobs(t *testing.T) {
	for _, standard := range []string{"privileged", "restricted"} {
		namespace := "jobs-" + standard
		showWhenFailed(t, namespace)
		pod := `{metadata: {labels: {app: anyapp}}, spec: {restartPolicy: Never, containers: [{name: app, image: ghcr.io/latchkey-dev/anyapp:dev, args: [--end=1s], ` + restricted + `}]}}`
		anyapp(t, namespace, standard, `
apiVersion: batch/v1
kind: Job
metadata: {name: once}
spec: {backoffLimit: 0, template: `+pod+`}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: often}
spec: {schedule: "0 0 1 1 *", jobTemplate: {spec: {backoffLimit: 0, template: `+pod+`}}}
`)
		run(t, "kubectl", "--namespace", namespace, "create", "job", "--from=cronjob/often", "now")
		for _, name := range []string{"once", "now"} {
			run(t, "kubectl", "--namespace", namespace, "wait", "--for=condition=Complete", "--timeout="+patience.String(), "job/"+name)
		}
		var list corev1.PodList
		must(t, kube.List(t.Context(), &list, client.InNamespace(namespace)))
		for _, pod := range list.Items {
			if len(pod.Status.InitContainerStatuses) == 0 || pod.Status.Phase != corev1.PodSucceeded {
				t.Errorf("pod %s is %s and has %d init containers, want it to have succeeded with its sidecar", pod.Name, pod.Status.Phase, len(pod.Status.InitContainerStatuses))
			}
		}
		if len(list.Items) != 2 {
			t.Errorf("got %d pods, want 2", len(list.Items))
		}
	}
}

// kinds: whoever makes the pods, they get the sidecar and are ready.
func kinds(t *testing.T) {
	const namespace = "kinds"
	showWhenFailed(t, namespace)
	template := func(kind string) string {
		return `template: {metadata: {labels: {app: ` + kind + `}}, spec: {containers: [{name: app, image: ghcr.io/latchkey-dev/anyapp:dev, args: ["--listen=:8080"]}]}}`
	}
	anyapp(t, namespace, "privileged", `
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: daemonset}
spec: {selector: {matchLabels: {app: daemonset}}, `+template("daemonset")+`}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: statefulset}
spec: {serviceName: none, selector: {matchLabels: {app: statefulset}}, `+template("statefulset")+`}
`)
	for _, kind := range []string{"daemonset", "statefulset"} {
		var found []corev1.Pod
		eventually(t, func(ctx context.Context) (err error) {
			found, err = pods(ctx, namespace, client.MatchingLabels{"app": kind}, 1)
			return err
		})
		for path, want := range map[string]int{"/open": http.StatusOK, "/closed": http.StatusForbidden} {
			got, err := get(t.Context(), "http://"+net.JoinHostPort(found[0].Status.PodIP, "8080")+path, "")
			must(t, err)
			if err := got.is(want); err != nil {
				t.Errorf("%s: %s: %v", kind, path, err)
			}
		}
	}
}

// probesAndHooks: of every kind that crosses the network, all on protected ports.
func probesAndHooks(t *testing.T) {
	const namespace = "probes"
	showWhenFailed(t, namespace)
	anyapp(t, namespace, "restricted", `
apiVersion: v1
kind: Pod
metadata: {name: app, labels: {app: anyapp}}
spec:
  containers:
  - name: app
    image: ghcr.io/latchkey-dev/anyapp:dev
    args: [--listen=127.0.0.1:8080, --listen-grpc=127.0.0.1:9090]
    ports: [{name: http, containerPort: 8080}, {name: grpc, containerPort: 9090}]
    startupProbe: {tcpSocket: {port: grpc}, periodSeconds: 1, failureThreshold: 60, timeoutSeconds: 10}
    livenessProbe: {grpc: {port: 9090}, periodSeconds: 1, failureThreshold: 2, timeoutSeconds: 10}
    readinessProbe: {httpGet: {port: http, path: /ready, httpHeaders: [{name: X-Key, value: of the author}]}, periodSeconds: 1, timeoutSeconds: 10}
    lifecycle:
      postStart: {httpGet: {port: http, path: /started, httpHeaders: [{name: Host, value: shop.example}]}}
      preStop: {httpGet: {port: 8080, path: /stopping}}
    `+restricted+`
`)
	var found []corev1.Pod
	eventually(t, func(ctx context.Context) (err error) {
		found, err = pods(ctx, namespace, client.MatchingLabels{"app": "anyapp"}, 1)
		return err
	})
	address := net.JoinHostPort(found[0].Status.PodIP, "8080")

	// Liveness is honest: the app says by gRPC that it is broken, and is restarted; its sidecar is not. Nobody but those in the pod may tell it to.
	inside := podnet.At(t, node(t, "network", found[0].Status.PodIP))
	breaker := &http.Client{Timeout: patience, Transport: &http.Transport{DialContext: inside.DialContext, DisableKeepAlives: true}}
	response, err := breaker.Post("http://127.0.0.1:8080/break", "", nil)
	must(t, err)
	_ = response.Body.Close()
	eventually(t, func(ctx context.Context) error {
		again, problem := pods(ctx, namespace, client.MatchingLabels{"app": "anyapp"}, 1)
		if problem == nil && restarts(again[0], "app") <= restarts(found[0], "app") { // it may have been too slow for its postStart hook before
			problem = errors.New("the app has not been restarted yet")
		}
		if problem == nil && restarts(again[0], sidecar) != 0 {
			t.Fatal("the sidecar was restarted")
		}
		return problem
	})

	follow, err := logs.CoreV1().Pods(namespace).GetLogs("app", &corev1.PodLogOptions{Container: "app", Follow: true}).Stream(t.Context())
	must(t, err)
	defer follow.Close()
	must(t, kube.Delete(t.Context(), &found[0]))
	said, _ := io.ReadAll(follow) // ends with the container
	for _, want := range []string{
		`/started of shop.example with ""`, `/ready of ` + address + ` with "of the author"`, `/stopping of ` + address + ` with ""`,
	} {
		if !strings.Contains(string(said), want) {
			t.Errorf("the app was not asked %s: %s", want, said)
		}
	}
}
