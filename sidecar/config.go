package sidecar

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Config is what the flags say. ParseFlags makes one that holds together.
type Config struct {
	BundleDir string                // holds bundle.json; a mounted ConfigMap or Secret
	StateDir  string                // outlives the process, not the pod
	PodIPs    []netip.Addr          // where to listen
	Ports     []uint16              // the app's own port numbers, on each of PodIPs
	AppHost   netip.Addr            // loopback address on which the app serves the same port numbers
	AdminPort uint16                // health, metrics, what is applied
	ProbePort uint16                // probes of the kubelet that are meant for the app
	Probes    map[ProbeKey]*url.URL // what to ask the app for each
	Drain     time.Duration         // how long requests in flight may take to finish after SIGTERM
	LogLevel  slog.Level
}

// ProbeKey names one probe of one container.
type ProbeKey struct {
	Container string
	Kind      string // liveness, readiness or startup
}

// ParseFlags reads the command line (without the program's name). The error names every flag that is wrong, and is flag.ErrHelp when
// help was asked for; help goes to usage.
func ParseFlags(args []string, usage io.Writer) (Config, error) {
	flags := flag.NewFlagSet("latchkey-sidecar", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // the caller prints the error, once
	config := Config{
		AppHost: netip.AddrFrom4([4]byte{127, 0, 0, 1}), AdminPort: 15020, ProbePort: 15021, Probes: map[ProbeKey]*url.URL{},
		Drain: 10 * time.Second,
	}
	flags.StringVar(&config.BundleDir, "bundle", "", "`directory` that holds bundle.json; required")
	flags.StringVar(&config.StateDir, "state", "", "writable `directory` that keeps revocations over a restart; required")
	flags.Func("pod-ips", "comma-separated `addresses` of the pod to listen on; required", config.addPodIPs)
	flags.Func("port", "TCP `port` that the app serves; may be given several times; required", config.addPort)
	flags.TextVar(&config.AppHost, "app-host", config.AppHost, "loopback `address` on which the app listens")
	flags.Func("admin-port", "`port` of health, metrics and state (default 15020)", portInto(&config.AdminPort))
	flags.Func("probe-port", "`port` on which the kubelet's probes of the app arrive (default 15021)", portInto(&config.ProbePort))
	flags.Func("probe", "`container/kind=url`: what to ask the app for a probe; may be given several times", config.addProbe)
	flags.DurationVar(&config.Drain, "drain", config.Drain, "how long requests in flight may take to finish after SIGTERM")
	flags.TextVar(&config.LogLevel, "log-level", config.LogLevel, "debug, info, warn or error")

	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		flags.SetOutput(usage)
		_, _ = fmt.Fprintln(usage, "Usage: latchkey-sidecar --bundle=<directory> --state=<directory> --pod-ips=<addresses> --port=<port> ...")
		flags.PrintDefaults()
		return Config{}, err
	} else if err != nil {
		return Config{}, err
	}
	if flags.NArg() > 0 {
		return Config{}, fmt.Errorf("unexpected argument %q: everything is said with flags", flags.Arg(0))
	}
	return config, config.check()
}

// check holds the flags against each other; ParseFlags has checked each by itself.
func (c *Config) check() error {
	var wrong []error
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Errorf(format, args...)) }

	if c.BundleDir == "" {
		say("--bundle: required")
	}
	if c.StateDir == "" {
		say("--state: required")
	}
	if len(c.PodIPs) == 0 {
		say("--pod-ips: required")
	}
	if len(c.Ports) == 0 {
		say("--port: required")
	}
	if !c.AppHost.IsLoopback() {
		say("--app-host: %s is no loopback address: the app would be reached past the sidecar", c.AppHost)
	}
	if slices.Contains(c.PodIPs, c.AppHost) {
		say("--app-host: %s is one of --pod-ips: requests would come back to the sidecar", c.AppHost)
	}
	if c.AdminPort == c.ProbePort {
		say("--probe-port: %d is --admin-port already", c.ProbePort)
	}
	if c.Drain < 0 {
		say("--drain: must not be negative")
	}
	for _, port := range c.Ports {
		if port == c.AdminPort || port == c.ProbePort {
			say("--port: %d is the sidecar's own port", port)
		}
	}
	return errors.Join(wrong...)
}

func (c *Config) addPodIPs(value string) error {
	for text := range strings.SplitSeq(value, ",") {
		ip, err := netip.ParseAddr(strings.TrimSpace(text))
		switch {
		case err != nil:
			return fmt.Errorf("%q is no IP address", text)
		case ip.IsUnspecified() || ip.IsMulticast():
			return fmt.Errorf("%s is no address of a pod", ip)
		case slices.Contains(c.PodIPs, ip):
			return fmt.Errorf("%s is given twice", ip)
		}
		c.PodIPs = append(c.PodIPs, ip)
	}
	return nil
}

func (c *Config) addPort(value string) error {
	var port uint16
	if err := portInto(&port)(value); err != nil {
		return err
	}
	if slices.Contains(c.Ports, port) {
		return errors.New("given twice")
	}
	c.Ports = append(c.Ports, port)
	return nil
}

func (c *Config) addProbe(value string) error {
	name, target, _ := strings.Cut(value, "=")
	container, kind, _ := strings.Cut(name, "/")
	if container == "" || !slices.Contains([]string{"liveness", "readiness", "startup"}, kind) {
		return errors.New("must be container/kind=url with liveness, readiness or startup as the kind")
	}
	key := ProbeKey{container, kind}
	if _, given := c.Probes[key]; given {
		return fmt.Errorf("%s is given twice", name)
	}
	u, err := url.Parse(target)
	if err != nil || u.Scheme != "http" || u.Port() == "" || u.User != nil || u.Fragment != "" {
		return errors.New("the url must be http://<address>:<port>/<path>")
	}
	c.Probes[key] = u
	return nil
}

func portInto(target *uint16) func(string) error {
	return func(value string) error {
		port, err := strconv.ParseUint(value, 10, 16)
		if err != nil || port == 0 {
			return errors.New("must be a port from 1 to 65535")
		}
		*target = uint16(port)
		return nil
	}
}
