package sidecar

import (
	"os"
	"path/filepath"
	"strings"
)

// warnOfNeighbours tells when the kernel takes packets for loopback addresses from the network: then whoever is on the same link as the pod can reach the
// app past the sidecar, with a frame made for that, unless the pod's kernel redirects them. It is the node's setting (kube-proxy in iptables mode turns
// it on there, and pods inherit it), so the pod starts all the same.
func (s *sidecar) warnOfNeighbours(config Config) {
	if open := routedLoopback("/proc/sys/net/ipv4/conf"); config.EveryAddress && len(open) > 0 {
		s.metrics.routeLocalnet.Set(1)
		s.log.Warn("neighbours on the pod's own link can reach the app on 127.0.0.1 past the sidecar: turn net.ipv4.conf.*.route_localnet off on the node, "+
			"or use interception Redirect", "interfaces", open)
	}
}

// routedLoopback are the interfaces whose packets may be for 127.0.0.0/8, below the kernel's directory of them.
func routedLoopback(directory string) []string {
	files, _ := filepath.Glob(filepath.Join(directory, "*", "route_localnet")) // the pattern is right
	var open []string
	for _, file := range files {
		name := filepath.Base(filepath.Dir(file))
		if value, err := os.ReadFile(file); err == nil && name != "lo" && name != "default" && strings.TrimSpace(string(value)) != "0" { // #nosec G304 -- of the kernel
			open = append(open, name)
		}
	}
	return open
}
