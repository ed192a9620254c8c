package issuer

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/latchkey-dev/latchkey/internal/profile"
)

// Options is what the command line says.
type Options struct {
	Config   string // directories, mounted by the kubelet
	Ring     string
	Sidecars string
	Users    string // empty where the app knows the users
	Webhook  string // empty where it does not
	TLS      string

	// Where sessions are kept: one of these.
	Data       string // directory of an SQLite database; the only one that is written to
	PostgreSQL string // directory, mounted by the kubelet, that says where the server is; see config.StoreURLFile
	Redis      string // the same
	Owner      string // the TokenIssuer, as namespace/name: a shared database belongs to one

	Listen       netip.AddrPort // HTTPS
	AdminAddress netip.AddrPort // HTTP: health, metrics, what is applied
	// ProfileAddress is where profiles of the process are served, a loopback address; none: they are not.
	ProfileAddress netip.AddrPort
	LogLevel       slog.Level

	// Now tells the time; nil means time.Now.
	Now func() time.Time
}

// ParseFlags reads a command line. Help goes to help, and comes back as flag.ErrHelp.
func ParseFlags(args []string, help io.Writer) (Options, error) {
	var o Options
	flags := flag.NewFlagSet("latchkey-issuer", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // the error says it
	flags.StringVar(&o.Config, "config", "", "`directory` with config.json")
	flags.StringVar(&o.Ring, "ring", "", "`directory` with the SigningKey's Secret: ring.json and jwks.json")
	flags.StringVar(&o.Sidecars, "sidecars", "", "`directory` with the token that sidecars show")
	flags.StringVar(&o.Users, "users", "", "`directory` with users.yaml; without it this token service has no list of users")
	flags.StringVar(&o.Webhook, "webhook", "", "`directory` with the secret that signs requests to the login webhook")
	flags.StringVar(&o.TLS, "tls", "", "`directory` with tls.crt and tls.key")
	flags.StringVar(&o.Data, "data", "", "`directory` for an SQLite database")
	flags.StringVar(&o.PostgreSQL, "postgresql", "", "`directory` with url and ca.crt of a PostgreSQL server, instead of --data")
	flags.StringVar(&o.Redis, "redis", "", "`directory` with url and ca.crt of a Redis server, instead of --data")
	flags.StringVar(&o.Owner, "owner", "", "`namespace/name` of the TokenIssuer whose sessions a shared database holds")
	flags.Var(&addrPort{&o.Listen}, "listen", "`ip:port` to serve HTTPS on")
	flags.Var(&addrPort{&o.AdminAddress}, "admin-address", "`ip:port` to serve health, metrics and applied state on")
	flags.Var(&addrPort{&o.ProfileAddress}, "profile-address", "loopback `ip:port` to serve profiles for go tool pprof on; none without it")
	flags.TextVar(&o.LogLevel, "log-level", slog.LevelInfo, "debug, info, warn or error")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			flags.SetOutput(help)
			flags.PrintDefaults()
		}
		return Options{}, err
	}
	if flags.NArg() > 0 {
		return Options{}, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	return o, o.check()
}

// check tells every fault at once.
func (o *Options) check() error {
	var faults []error
	for _, dir := range []struct{ flag, value string }{
		{"--config", o.Config}, {"--ring", o.Ring}, {"--sidecars", o.Sidecars}, {"--tls", o.TLS},
	} {
		if dir.value == "" {
			faults = append(faults, fmt.Errorf("%s: required", dir.flag))
		}
	}
	stores := 0
	for _, dir := range []string{o.Data, o.PostgreSQL, o.Redis} {
		if dir != "" {
			stores++
		}
	}
	if stores != 1 {
		faults = append(faults, errors.New("--data, --postgresql, --redis: one of these is required"))
	}
	if o.Data == "" && o.Owner == "" {
		faults = append(faults, errors.New("--owner: required for a shared database"))
	}
	if !o.Listen.IsValid() {
		faults = append(faults, errors.New("--listen: required"))
	}
	if !o.AdminAddress.IsValid() {
		faults = append(faults, errors.New("--admin-address: required"))
	}
	if o.Listen.IsValid() && o.Listen == o.AdminAddress {
		faults = append(faults, fmt.Errorf("--admin-address: %s is --listen already", o.AdminAddress))
	}
	if o.ProfileAddress.IsValid() {
		if err := profile.Check(o.ProfileAddress); err != nil {
			faults = append(faults, fmt.Errorf("--profile-address: %w", err))
		}
	}
	return errors.Join(faults...)
}

// addrPort is a flag that holds an IP address and a port.
type addrPort struct{ into *netip.AddrPort }

func (a *addrPort) String() string {
	if a.into == nil || !a.into.IsValid() {
		return ""
	}
	return a.into.String()
}

func (a *addrPort) Set(text string) error {
	// In brackets an IPv4 address is taken as well: whoever fills one in cannot know which kind it will be.
	host, port, _ := net.SplitHostPort(text)
	parsed, err := netip.ParseAddrPort(net.JoinHostPort(host, port))
	if err != nil || parsed.Port() == 0 {
		return errors.New("must be an IP address and a port, as 10.0.0.1:8443 or [fd00::1]:8443")
	}
	*a.into = parsed
	return nil
}
