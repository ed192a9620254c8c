package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strconv"

	"github.com/latchkey-dev/latchkey/internal/profile"
)

// options are what the flags say.
type options struct {
	webhookHost    string
	webhookPort    int
	healthAddress  string
	metricsAddress string
	profileAddress netip.AddrPort // the zero value: no profiles
	leaderElect    bool
	sidecarImage   string
	issuerImage    string
	namespace      string
	logLevel       slog.Level
}

// parseFlags reads the command line (without the program's name). The error names every flag that is wrong, and is flag.ErrHelp when help
// was asked for; help goes to usage.
func parseFlags(args []string, usage io.Writer) (options, error) {
	var o options
	var webhookAddress string
	flags := flag.NewFlagSet("latchkey-manager", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // the caller prints the error, once
	flags.StringVar(&webhookAddress, "webhook-address", ":9443", "`ip:port` where the API server reaches the admission webhook (TLS)")
	flags.StringVar(&o.healthAddress, "health-address", ":8081", "`ip:port` of /healthz and /readyz")
	flags.StringVar(&o.metricsAddress, "metrics-address", ":8080", "`ip:port` of /metrics")
	flags.Func("profile-address", "loopback `ip:port` of profiles for go tool pprof (default none)", func(text string) (err error) {
		if o.profileAddress, err = netip.ParseAddrPort(text); err != nil {
			return errors.New("must be ip:port")
		}
		return profile.Check(o.profileAddress)
	})
	flags.BoolVar(&o.leaderElect, "leader-elect", false, "run the controllers on one replica only; needed where there are several")
	flags.StringVar(&o.sidecarImage, "sidecar-image", "", "`image` of the sidecar that is put into pods; required")
	flags.StringVar(&o.issuerImage, "issuer-image", "", "`image` of the token services; required")
	flags.StringVar(&o.namespace, "namespace", "", "the manager's own `namespace`; required")
	flags.TextVar(&o.logLevel, "log-level", slog.LevelInfo, "debug, info, warn or error")

	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		flags.SetOutput(usage)
		_, _ = fmt.Fprintln(usage, "Usage: latchkey-manager --namespace=<namespace> --sidecar-image=<image> --issuer-image=<image> ...")
		flags.PrintDefaults()
		return options{}, err
	} else if err != nil {
		return options{}, err
	}

	var wrong []error
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Errorf(format, args...)) }
	if flags.NArg() > 0 {
		say("unexpected argument %q: everything is said with flags", flags.Arg(0))
	}
	required := func(name, value string) {
		if value == "" {
			say("--%s: required", name)
		}
	}
	required("namespace", o.namespace)
	required("sidecar-image", o.sidecarImage)
	required("issuer-image", o.issuerImage)
	address := func(name, value string) (host string, port int) {
		host, port, err := splitAddress(value)
		if err != nil {
			say("--%s: %w", name, err)
		}
		return host, port
	}
	o.webhookHost, o.webhookPort = address("webhook-address", webhookAddress)
	address("health-address", o.healthAddress)
	address("metrics-address", o.metricsAddress)
	return o, errors.Join(wrong...)
}

// splitAddress takes "10.0.0.1:9443", "[fd00::1]:9443", "[10.0.0.1]:9443" and ":9443", the last for all addresses.
func splitAddress(address string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil || host != "" && net.ParseIP(host) == nil {
		return "", 0, fmt.Errorf("%q is not ip:port; an IPv6 address goes in brackets", address)
	}
	number, err := strconv.ParseUint(text, 10, 16)
	if err != nil || number == 0 {
		return "", 0, fmt.Errorf("%q: the port must be from 1 to 65535", address)
	}
	return host, int(number), nil
}
