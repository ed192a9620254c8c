//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/test/podnet"
)

// foreign is an application that nobody here wrote, as test/e2e/workloads packs and deploys it.
type foreign struct {
	name  string
	ports []string
	// onLoopback is the command by which its users have it listen on the loopback address only; nil where it does so by itself.
	onLoopback []any
	check      func(*workload)
}

var foreigners = []foreign{
	{"nginx", []string{"80", "8081"}, []any{"nginx", "-e", "stderr", "-c", "/etc/nginx/conf.d/on-loopback"}, checkNginx},
	{"python", []string{"8000"}, []any{"python3", "-m", "http.server", "--bind", "127.0.0.1", "--directory", "/var/www/html"}, checkPython},
	{"json-server", []string{"3000"}, []any{"node", "node_modules/.bin/json-server", "/data/db.json"}, checkJSONServer},
	{"websocket", []string{"1234"}, nil, checkWebSocket},
	{"etcd", []string{"2379"}, []any{
		"etcd", "--data-dir=/data", "--listen-client-urls=http://127.0.0.1:2379", "--advertise-client-urls=http://etcd:2379", "--log-level=warn",
	}, checkEtcd},
	{"interop", []string{"10000"}, []any{"interop-server", "--port=10000"}, checkInterop},
}

// What was made without Latchkey in mind gets a label on its namespace, and for those who may come it does what it does without.
func TestApplicationsOfOthersAreProtectedWithoutBeingChanged(t *testing.T) {
	ownNode(t)
	a := quickstart(t, "foreign", 1, byRedirect)
	deployForeigners(a, foreigners, func(*unstructured.Unstructured, foreign) {})
	for _, app := range foreigners {
		t.Run(app.name, func(t *testing.T) {
			t.Parallel()
			w := find(t, a, app)
			w.isClosed()
			app.check(w)
			w.wasNotRestarted()
		})
	}
}

// Where nothing may be redirected they are told, by their own means, to listen on the loopback address.
func TestApplicationsOfOthersAreProtectedWhereNothingMayBeRedirected(t *testing.T) {
	ownNode(t)
	a := quickstart(t, "foreign-loopback", 1)
	able := slices.DeleteFunc(slices.Clone(foreigners), func(app foreign) bool { return app.name == "interop" }) // which cannot be told
	deployForeigners(a, able, func(deployment *unstructured.Unstructured, app foreign) {
		template := deployment.Object["spec"].(map[string]any)["template"].(map[string]any)["spec"].(map[string]any)
		template["securityContext"] = map[string]any{
			"runAsNonRoot": true, "runAsUser": int64(65532), "fsGroup": int64(65532), "seccompProfile": map[string]any{"type": "RuntimeDefault"},
		}
		for _, kind := range []string{"initContainers", "containers"} {
			containers, _ := template[kind].([]any)
			for _, each := range containers {
				container := each.(map[string]any)
				container["securityContext"] = map[string]any{"allowPrivilegeEscalation": false, "capabilities": map[string]any{"drop": []any{"ALL"}}}
				if kind == "containers" && app.onLoopback != nil {
					container["command"] = app.onLoopback
				}
			}
		}
	})
	for _, app := range able {
		t.Run(app.name, func(t *testing.T) {
			t.Parallel()
			w := find(t, a, app)
			w.isClosed()
			app.check(w)
			w.wasNotRestarted()
		})
	}
}

// deployForeigners applies applications beside the quickstart, whose users are theirs, and waits until they are ready.
func deployForeigners(a *app, apps []foreign, change func(*unstructured.Unstructured, foreign)) {
	a.Helper()
	run(a.T, "kubectl", "label", "namespace", a.namespace, "auth.latchkey.dev/inject=enabled")
	for _, app := range apps {
		policy := parsed(a.T, strings.NewReader(`
apiVersion: auth.latchkey.dev/v1alpha1
kind: AuthPolicy
metadata: {name: `+app.name+`}
spec:
  selector: {matchLabels: {app: `+app.name+`}}
  ports: [`+strings.Join(app.ports, ", ")+`]
  issuers: [{audiences: [quickstart], keys: {tokenIssuerRef: {name: quickstart}}}]
  default: Authenticated
`))
		for _, object := range append(policy, objects(a.T, "test/e2e/workloads/"+app.name+".yaml")...) {
			object.SetNamespace(a.namespace)
			if object.GetKind() == "Deployment" {
				change(object, app)
			}
			apply(a.T, object)
		}
	}
	for _, app := range apps {
		_ = ready(a.T, a.namespace, app.name)
	}
}

// ready waits for the one pod of an application.
func ready(t *testing.T, namespace, app string) corev1.Pod {
	t.Helper()
	var found []corev1.Pod
	eventually(t, func(ctx context.Context) (err error) {
		found, err = pods(ctx, namespace, client.MatchingLabels{"app": app}, 1)
		return err
	})
	return found[0]
}

// workload is one of them that runs behind its sidecar.
type workload struct {
	*testing.T
	foreign
	of     *app
	token  string
	pod    corev1.Pod
	inside *podnet.Place // where the app itself is asked
}

func find(t *testing.T, a *app, app foreign) *workload {
	t.Helper()
	found := ready(t, a.namespace, app.name)
	s, err := login(t.Context(), a.service(), "alice")
	must(t, err)
	return &workload{t, app, a, s.access, found, podnet.At(t, node(t, "network", found.Status.PodIP))}
}

// address is where others find one of its ports.
func (w *workload) address(port string) string { return net.JoinHostPort(w.pod.Status.PodIP, port) }

// itself connects to the app past the sidecar, from within the pod.
func (w *workload) itself(ctx context.Context, port string) (net.Conn, error) {
	conn, err := w.inside.DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", port))
	if err != nil { // what Node calls localhost
		conn, err = w.inside.DialContext(ctx, "tcp", net.JoinHostPort("::1", port))
	}
	return conn, err
}

// isClosed tries every way to each of its ports, without a token and with one.
func (w *workload) isClosed() {
	w.Helper()
	others, err := pods(w.Context(), w.of.namespace, client.MatchingLabels{"auth.latchkey.dev/pod": "issuer"}, 1)
	must(w.T, err)
	var service corev1.Service
	must(w.T, kube.Get(w.Context(), client.ObjectKey{Namespace: w.of.namespace, Name: w.name}, &service))
	for _, port := range w.ports {
		through := fmt.Sprintf("http://%s:%d", service.Spec.ClusterIP, service.Spec.Ports[0].Port)
		for _, way := range ways(w.T, w.pod, others[0], through, port) {
			for _, token := range []string{"", w.token} {
				eventually(w.T, func(ctx context.Context) error { // kube-proxy and what finds neighbours take a moment
					got, err := way.try(ctx, token)
					if refused := got == http.StatusUnauthorized; err == nil && refused != (token == "") {
						w.Errorf("port %s, %s, with a token: %v: got %d, want the sidecar's 401 or else the app's own answer", port, way.name, token != "", got)
					}
					return err
				})
			}
		}
	}
}

// wasNotRestarted: what the kubelet asks is answered.
func (w *workload) wasNotRestarted() {
	w.Helper()
	now := ready(w.T, w.of.namespace, w.name)
	for _, container := range slices.Concat(w.pod.Spec.InitContainers, w.pod.Spec.Containers) {
		if got := restarts(now, container.Name); got != 0 {
			w.Errorf("container %s has restarted %d times, want none", container.Name, got)
		}
	}
}
