package localnode

import (
	"fmt"
	"net"
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// translation puts what a container says about its own world in terms of this machine: mount paths become local directories, and
// 127.0.0.1 becomes the pod's loopback address.
type translation map[string]string

// apply translates every whole path that is a mount path or lies below one, and every whole 127.0.0.1.
func (t translation) apply(s string) string {
	var out strings.Builder
	for i := 0; i < len(s); {
		if i == 0 || !inWord(s[i-1]) {
			if from := t.longestAt(s[i:]); from != "" {
				out.WriteString(t[from])
				i += len(from)
				continue
			}
		}
		out.WriteByte(s[i])
		i++
	}
	return out.String()
}

// longestAt is the longest key that s begins with as a whole word: /data/cache is not taken for a file of /data.
func (t translation) longestAt(s string) string {
	longest := ""
	for from := range t {
		if len(from) > len(longest) && strings.HasPrefix(s, from) && (len(s) == len(from) || !inWord(s[len(from)])) {
			longest = from
		}
	}
	return longest
}

func inWord(c byte) bool {
	return c == '.' || c == '-' || c == '_' || '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z'
}

// environment works out the env of a container, in order: a variable may refer to those before it as $(NAME).
func environment(pod *corev1.Pod, node netip.Addr, container corev1.Container) (map[string]string, error) {
	if len(container.EnvFrom) > 0 {
		return nil, fmt.Errorf("container %s: envFrom is not played by this node", container.Name)
	}
	env := map[string]string{}
	for _, variable := range container.Env {
		value := expand(variable.Value, env)
		if from := variable.ValueFrom; from != nil {
			if from.FieldRef == nil {
				return nil, fmt.Errorf("container %s: env %s: of valueFrom only fieldRef is played by this node", container.Name, variable.Name)
			}
			var err error
			if value, err = field(pod, node, from.FieldRef.FieldPath); err != nil {
				return nil, fmt.Errorf("container %s: env %s: %w", container.Name, variable.Name, err)
			}
		}
		env[variable.Name] = value
	}
	return env, nil
}

// field reads what the downward API offers as an environment variable.
func field(pod *corev1.Pod, node netip.Addr, path string) (string, error) {
	switch path {
	case "metadata.name":
		return pod.Name, nil
	case "metadata.namespace":
		return pod.Namespace, nil
	case "metadata.uid":
		return string(pod.UID), nil
	case "spec.nodeName":
		return pod.Spec.NodeName, nil
	case "spec.serviceAccountName":
		return pod.Spec.ServiceAccountName, nil
	case "status.hostIP":
		return node.String(), nil
	case "status.podIP":
		return pod.Status.PodIP, nil
	case "status.podIPs":
		ips := make([]string, 0, len(pod.Status.PodIPs))
		for _, ip := range pod.Status.PodIPs {
			ips = append(ips, ip.IP)
		}
		return strings.Join(ips, ","), nil
	}
	for prefix, values := range map[string]map[string]string{"metadata.labels['": pod.Labels, "metadata.annotations['": pod.Annotations} {
		if key, ok := strings.CutPrefix(path, prefix); ok && strings.HasSuffix(key, "']") {
			return values[strings.TrimSuffix(key, "']")], nil
		}
	}
	return "", fmt.Errorf("fieldRef %s is not played by this node", path)
}

// expand replaces $(NAME) by the variable's value. A name that is not known is left as it stands, and $$ stands for one $: as documented
// for command and args.
func expand(s string, env map[string]string) string {
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '$' || i+1 == len(s) {
			out.WriteByte(s[i])
			continue
		}
		if s[i+1] == '$' {
			out.WriteByte('$')
			i++
			continue
		}
		name, _, closed := strings.Cut(s[i+1:], ")")
		value, known := env[strings.TrimPrefix(name, "(")]
		if s[i+1] == '(' && closed && known {
			out.WriteString(value)
			i += len(name) + 1
			continue
		}
		out.WriteByte('$')
	}
	return out.String()
}

// portOf finds a port by number or by the name that a container gives it.
func portOf(number int, name string, containers ...corev1.Container) (int, error) {
	if name == "" {
		return number, nil
	}
	for _, container := range containers {
		for _, port := range container.Ports {
			if port.Name == name {
				return int(port.ContainerPort), nil
			}
		}
	}
	return 0, fmt.Errorf("no container port is named %q", name)
}

func hostPort(host string, port int) string { return net.JoinHostPort(host, fmt.Sprint(port)) }
