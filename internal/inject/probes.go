package inject

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/latchkey-dev/latchkey/internal/probe"
)

const (
	probeFlag  = "--probe="
	secretFlag = "--hook-secret="
)

// question is a probe or a hook of a container. Its handlers may be changed in place.
type question struct {
	kind   string // as the sidecar calls it: startup, readiness, liveness, postStart, preStop
	path   string // in JSON, from the container: "/readinessProbe"
	get    **corev1.HTTPGetAction
	socket **corev1.TCPSocketAction
	grpc   **corev1.GRPCAction // nil for hooks, which have none
}

func (q question) isHook() bool { return slices.Contains(probe.Hooks, q.kind) }

// questions goes through a container's probes and hooks.
func questions(c *corev1.Container) []question {
	var all []question
	for i, p := range []*corev1.Probe{c.StartupProbe, c.ReadinessProbe, c.LivenessProbe} {
		if p != nil {
			kind := probe.Kinds[i]
			all = append(all, question{kind, "/" + kind + "Probe", &p.HTTPGet, &p.TCPSocket, &p.GRPC})
		}
	}
	if c.Lifecycle == nil {
		return all
	}
	for i, h := range []*corev1.LifecycleHandler{c.Lifecycle.PostStart, c.Lifecycle.PreStop} {
		if h != nil {
			kind := probe.Hooks[i]
			all = append(all, question{kind, "/lifecycle/" + kind, &h.HTTPGet, &h.TCPSocket, nil})
		}
	}
	return all
}

// redirectProbes points every probe and hook of a protected port at the sidecar's probe port, and returns the --probe arguments that tell the
// sidecar where each pointed before. On the protected port itself the kubelet, which has no token, would be refused, and its TCP probes
// would succeed though no app is there. Those of other ports are left alone.
func redirectProbes(pod *corev1.Pod, sidecar Sidecar, earlier map[string]string) ([]string, field.ErrorList) {
	var args []string
	var problems field.ErrorList
	for path, c := range containers(pod) {
		for _, q := range questions(c) {
			name := c.Name + "/" + q.kind
			at := path
			for step := range strings.SplitSeq(strings.TrimPrefix(q.path, "/"), "/") {
				at = at.Child(step)
			}
			if argument, rewritten := earlier[name]; rewritten && isRedirected(q, name, sidecar.HookSecret) {
				args = append(args, argument)
				continue
			}
			target, handler, problem := targetOf(c, q, sidecar)
			switch {
			case problem != "":
				problems = append(problems, field.Forbidden(at.Child(handler), problem))
			case target != nil:
				args = append(args, probeFlag+name+"="+literal(target.String()))
				*q.get, *q.socket = redirected(q, name, sidecar.HookSecret), nil
				if q.grpc != nil {
					*q.grpc = nil
				}
			}
		}
	}
	return args, problems
}

// targetOf is what a question asks of a protected port; nil: it asks something else. Handler is the field that asks, or the one that is to be changed
// because of a problem.
func targetOf(c *corev1.Container, q question, sidecar Sidecar) (target *probe.Target, handler, problem string) {
	handler, port := handlerPort(c, *q.get, *q.socket)
	if q.grpc != nil && *q.grpc != nil {
		handler, port = "grpc", (*q.grpc).Port
	}
	switch {
	case ownPort(port):
		return nil, handler + ".port", fmt.Sprintf("ports %d to %d are the sidecar's own; name a port of the app", firstOwnPort, lastOwnPort)
	case !protects(sidecar, port):
		return nil, "", ""
	}
	target = &probe.Target{Port: uint16(port)} // #nosec G115 -- a port of the policy
	switch handler {
	case "tcpSocket":
		if q.isHook() {
			return nil, handler, "Kubernetes carries out no such hook, and port " + strconv.Itoa(int(port)) + " is protected; use httpGet or exec"
		}
		target.Protocol = probe.TCP
	case "grpc":
		target.Protocol, target.Service = probe.GRPC, ptr.Deref((*q.grpc).Service, "")
	case "httpGet":
		get := *q.get
		target.Protocol, target.Path = probe.HTTP, requestURI(get.Path)
		if get.Scheme == corev1.URISchemeHTTPS {
			target.Protocol = probe.HTTPS
		}
		for _, header := range get.HTTPHeaders {
			target.Headers = append(target.Headers, probe.Header{Name: header.Name, Value: header.Value})
		}
	}
	if _, err := probe.Parse(target.String()); err != nil {
		return nil, handler, "the sidecar cannot ask this of the app: " + err.Error()
	}
	return target, handler, ""
}

// handlerPort returns which of the two is set, and the port of this pod that it points at; 0 when it points elsewhere: a host of its own, or
// a name that the container gives no port.
func handlerPort(c *corev1.Container, get *corev1.HTTPGetAction, socket *corev1.TCPSocketAction) (string, int32) {
	var target, host string
	var port intstr.IntOrString
	switch {
	case get != nil:
		target, host, port = "httpGet", get.Host, get.Port
	case socket != nil:
		target, host, port = "tcpSocket", socket.Host, socket.Port
	}
	switch {
	case host != "":
		return target, 0
	case port.Type == intstr.Int:
		return target, port.IntVal
	}
	for _, p := range c.Ports {
		if p.Name == port.StrVal {
			return target, p.ContainerPort
		}
	}
	return target, 0
}

func protects(sidecar Sidecar, port int32) bool { return slices.Contains(sidecar.Ports, port) }

// redirected asks the sidecar instead. A hook makes the app do something, and so needs the pod's secret.
func redirected(q question, name, secret string) *corev1.HTTPGetAction {
	path := "/" + name
	if q.isHook() {
		path += "/" + secret
	}
	return &corev1.HTTPGetAction{Path: path, Port: intstr.FromInt32(probePort), Scheme: corev1.URISchemeHTTP}
}

// isRedirected compares all that counts: the API server and other webhooks may have filled in the rest.
func isRedirected(q question, name, secret string) bool {
	get, want := *q.get, redirected(q, name, secret)
	return get != nil && get.Host == "" && get.Port == want.Port && get.Path == want.Path
}

// requestURI is what the kubelet would ask for: path may be relative and may carry a query.
func requestURI(path string) string {
	u, err := url.Parse(path)
	if err != nil {
		u = &url.URL{Path: path} // as the kubelet does
	}
	only := url.URL{Path: u.Path, RawPath: u.RawPath, RawQuery: u.RawQuery, ForceQuery: u.ForceQuery}
	uri := only.RequestURI()
	if !strings.HasPrefix(uri, "/") {
		uri = "/" + uri
	}
	return uri
}

// literal keeps the kubelet from expanding $(VARIABLES) in an argument; unliteral is what the argument then is.
func literal(argument string) string   { return strings.ReplaceAll(argument, "$", "$$") }
func unliteral(argument string) string { return strings.ReplaceAll(argument, "$$", "$") }

// endDelay is how long an app goes on while its pod is being deleted, so that those who call it learn of that first. Three seconds would do on one
// node.
const endDelay = 5

// delayEnd has each of the app's containers that does nothing before its end wait a little.
func delayEnd(pod *corev1.Pod) {
	grace := ptr.Deref(pod.Spec.TerminationGracePeriodSeconds, corev1.DefaultTerminationGracePeriodSeconds)
	seconds := min(endDelay, grace/2) // the app needs time for its own end as well
	if seconds < 1 {
		return
	}
	for i := range pod.Spec.Containers {
		c := &pod.Spec.Containers[i]
		if c.Lifecycle == nil {
			c.Lifecycle = &corev1.Lifecycle{}
		}
		if c.Lifecycle.PreStop == nil {
			c.Lifecycle.PreStop = &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: seconds}}
		}
	}
}
