package sidecar

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey-dev/latchkey/internal/probe"
)

// Config is what the flags say. ParseFlags makes one that holds together.
type Config struct {
	BundleDir string       // holds bundle.json; a mounted ConfigMap or Secret
	StateDir  string       // outlives the process, not the pod
	PodIPs    []netip.Addr // where the pod is reached
	Ports     []Port
	AppHosts  []netip.Addr // where the app may listen, in the order of trying
	AdminPort uint16       // health, metrics, what is applied
	ProbePort uint16       // probes of the kubelet that are meant for the app
	Probes    map[ProbeKey]probe.Target
	Secret    string        // what a hook must show; "": there are none
	Drain     time.Duration // how long requests in flight may take to finish after SIGTERM
	LogLevel  slog.Level

	// EveryAddress takes ports that are not redirected on all addresses of the pod that are not loopback, and keeps the app from the wildcard.
	EveryAddress bool
	// Profile lets the process be profiled, from inside the pod alone.
	Profile bool
	// Sockets is how many sockets a parent process has handed down, from descriptor 3 on; 0: none.
	Sockets int
}

// Port is a port of the app.
type Port struct {
	App uint16
	// Redirected is where the kernel brings those who call App from outside the pod, on the wildcard address; 0: they arrive at App itself, on the pod's
	// addresses.
	Redirected uint16
}

func (p Port) listens() uint16 { return cmp.Or(p.Redirected, p.App) }

// ProbeKey names one probe or hook of one container.
type ProbeKey struct {
	Container string
	Kind      string // see internal/probe
}

// ParseFlags reads the command line (without the program's name). The error names every flag that is wrong, and is flag.ErrHelp when
// help was asked for; help goes to usage.
func ParseFlags(args []string, usage io.Writer) (Config, error) {
	flags := flag.NewFlagSet("latchkey-sidecar", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // the caller prints the error, once
	config := Config{
		AdminPort: 15020, ProbePort: 15021, Probes: map[ProbeKey]probe.Target{}, Drain: 10 * time.Second,
	}
	flags.StringVar(&config.BundleDir, "bundle", "", "`directory` that holds bundle.json; required")
	flags.StringVar(&config.StateDir, "state", "", "writable `directory` that keeps revocations over a restart; required")
	flags.Func("pod-ips", "comma-separated `addresses` of the pod to listen on; required", addressesInto(&config.PodIPs))
	flags.Func("port", "TCP `port` that the app serves; port:redirected where the pod's kernel redirects those who call it; may be given several times; required", config.addPort)
	flags.BoolVar(&config.EveryAddress, "every-address", false, "take ports that are not redirected on all addresses of the pod but loopback, and keep apps from wildcard addresses")
	flags.Func("app-host", "comma-separated `addresses` on which the app may listen, in the order of trying (default 127.0.0.1)", addressesInto(&config.AppHosts))
	flags.Func("admin-port", "`port` of health, metrics and state (default 15020)", portInto(&config.AdminPort))
	flags.Func("probe-port", "`port` on which the kubelet's probes of the app arrive (default 15021)", portInto(&config.ProbePort))
	flags.Func("probe", "`container/kind=target`: what to ask the app for a probe or a hook, as JSON; may be given several times", config.addProbe)
	flags.StringVar(&config.Secret, "hook-secret", "", "`text` that a hook must have in its path")
	flags.BoolVar(&config.Profile, "profile", false, "serve profiles for go tool pprof on the admin port, from inside the pod alone")
	flags.IntVar(&config.Sockets, "sockets", 0, "`number` of sockets that this process gets from its parent; 0 to be that parent")
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
	if len(config.AppHosts) == 0 {
		config.AppHosts = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})}
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
	own := func(p Port) bool { return p.Redirected == 0 }
	for _, host := range c.AppHosts {
		switch {
		case !slices.ContainsFunc(c.Ports, own): // the sidecar listens on none of the app's ports
		case !host.IsLoopback():
			say("--app-host: %s is no loopback address: the app would be reached past the sidecar", host)
		case slices.Contains(c.PodIPs, host):
			say("--app-host: %s is one of --pod-ips: requests would come back to the sidecar", host)
		}
	}
	if c.AppHosts != nil && !c.AppHosts[0].IsLoopback() {
		say("--app-host: the first must be a loopback address, not %s", c.AppHosts[0])
	}
	if c.Sockets < 0 {
		say("--sockets: must not be negative")
	}
	if c.AdminPort == c.ProbePort {
		say("--probe-port: %d is --admin-port already", c.ProbePort)
	}
	if c.Drain < 0 {
		say("--drain: must not be negative")
	}
	taken := map[uint16]bool{c.AdminPort: true, c.ProbePort: true}
	for _, port := range c.Ports {
		if taken[port.listens()] || port.App == c.AdminPort || port.App == c.ProbePort {
			say("--port: %d is the sidecar's own port, or given twice", port.listens())
		}
		taken[port.listens()] = true
	}
	for key := range c.Probes {
		if slices.Contains(probe.Hooks, key.Kind) && c.Secret == "" {
			say("--hook-secret: required, because %s has a %s hook", key.Container, key.Kind)
		}
	}
	return errors.Join(wrong...)
}

func addressesInto(target *[]netip.Addr) func(string) error {
	return func(value string) error {
		for text := range strings.SplitSeq(value, ",") {
			ip, err := netip.ParseAddr(strings.TrimSpace(text))
			switch {
			case err != nil:
				return fmt.Errorf("%q is no IP address", text)
			case ip.IsUnspecified() || ip.IsMulticast():
				return fmt.Errorf("%s is no address of a pod", ip)
			case slices.Contains(*target, ip):
				return fmt.Errorf("%s is given twice", ip)
			}
			*target = append(*target, ip)
		}
		return nil
	}
}

func (c *Config) addPort(value string) error {
	var port Port
	app, redirected, isRedirected := strings.Cut(value, ":")
	if err := portInto(&port.App)(app); err != nil {
		return err
	}
	if isRedirected {
		if err := portInto(&port.Redirected)(redirected); err != nil {
			return err
		}
	}
	if slices.ContainsFunc(c.Ports, func(other Port) bool { return other.App == port.App }) {
		return errors.New("given twice")
	}
	c.Ports = append(c.Ports, port)
	return nil
}

func (c *Config) addProbe(value string) error {
	name, text, _ := strings.Cut(value, "=")
	container, kind, _ := strings.Cut(name, "/")
	if container == "" || !slices.Contains(slices.Concat(probe.Kinds, probe.Hooks), kind) {
		return fmt.Errorf("must be container/kind=target, with one of %s, %s as the kind", strings.Join(probe.Kinds, ", "), strings.Join(probe.Hooks, ", "))
	}
	key := ProbeKey{container, kind}
	if _, given := c.Probes[key]; given {
		return fmt.Errorf("%s is given twice", name)
	}
	target, err := probe.Parse(text)
	if err != nil {
		return fmt.Errorf("%s: the target %w", name, err)
	}
	c.Probes[key] = target
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
