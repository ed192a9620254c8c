package inject

import (
	"fmt"
	"iter"
	"net/url"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

const (
	probeFlag = "--probe="
	appHost   = "127.0.0.1" // where the app listens: on the pod's loopback interface only
)

// redirectProbes points every HTTP probe of a protected port at the sidecar's probe port, and returns the --probe arguments that tell the
// sidecar where each pointed before. On the protected port itself the kubelet, which has no token, would be refused, and its TCP probes
// would succeed though no app is there. Probes of other ports are left alone.
func redirectProbes(pod *corev1.Pod, sidecar Sidecar, earlier map[string]string) ([]string, field.ErrorList) {
	var args []string
	var problems field.ErrorList
	forbid := func(path *field.Path, format string, values ...any) {
		problems = append(problems, field.Forbidden(path, fmt.Sprintf(format, values...)))
	}

	for path, c := range containers(pod) {
		for kind, probe := range probes(c) {
			name := c.Name + "/" + kind
			target, port := handlerPort(c, probe.HTTPGet, probe.TCPSocket)
			if probe.GRPC != nil {
				target, port = "grpc", probe.GRPC.Port
			}
			at := path.Child(kind+"Probe", target)
			argument, rewritten := earlier[name]

			switch {
			case probe.HTTPGet != nil && rewritten && isRedirected(probe.HTTPGet, name):
				args = append(args, argument)
			case ownPort(port):
				forbid(at.Child("port"), "ports %d to %d are the sidecar's own; probe a port of the app", firstOwnPort, lastOwnPort)
			case !protects(sidecar, port):
			case probe.HTTPGet == nil:
				forbid(at, "port %d is protected, so the probe would reach the sidecar and not the app; use httpGet or exec", port)
			case probe.HTTPGet.Scheme != "" && probe.HTTPGet.Scheme != corev1.URISchemeHTTP:
				forbid(at.Child("scheme"), "port %d is protected, and the sidecar speaks plain HTTP to the app; use HTTP", port)
			case len(probe.HTTPGet.HTTPHeaders) > 0:
				forbid(at.Child("httpHeaders"), "port %d is protected, and the sidecar sends headers of its own; remove them, or use exec", port)
			default:
				args = append(args, probeFlag+name+"="+literal(appProbe(port, probe.HTTPGet.Path)))
				probe.HTTPGet = redirected(name)
			}
		}
	}
	return args, problems
}

// probes goes through a container's probes, by the sidecar's name for their kind.
func probes(c *corev1.Container) iter.Seq2[string, *corev1.Probe] {
	return func(yield func(string, *corev1.Probe) bool) {
		if c.StartupProbe != nil && !yield("startup", c.StartupProbe) {
			return
		}
		if c.ReadinessProbe != nil && !yield("readiness", c.ReadinessProbe) {
			return
		}
		if c.LivenessProbe != nil {
			yield("liveness", c.LivenessProbe)
		}
	}
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

func redirected(name string) *corev1.HTTPGetAction {
	return &corev1.HTTPGetAction{Path: "/" + name, Port: intstr.FromInt32(probePort), Scheme: corev1.URISchemeHTTP}
}

// isRedirected compares all that counts: the API server and other webhooks may have filled in the rest.
func isRedirected(get *corev1.HTTPGetAction, name string) bool {
	want := redirected(name)
	return get.Host == "" && get.Port == want.Port && get.Path == want.Path
}

// appProbe is the address that asks the app what the kubelet would have asked it: path may be relative and may carry a query.
func appProbe(port int32, path string) string {
	u, err := url.Parse(path)
	if err != nil {
		u = &url.URL{Path: path} // as the kubelet does
	}
	app := url.URL{Scheme: "http", Host: appHost + ":" + strconv.Itoa(int(port)), Path: u.Path, RawPath: u.RawPath, RawQuery: u.RawQuery}
	return app.String()
}

// literal keeps the kubelet from expanding $(VARIABLES) in an argument.
func literal(argument string) string { return strings.ReplaceAll(argument, "$", "$$") }
