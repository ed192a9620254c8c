package sidecar_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/latchkey-dev/latchkey/internal/probe"
	"github.com/latchkey-dev/latchkey/sidecar"
)

func TestFlagsAreRead(t *testing.T) {
	got, err := sidecar.ParseFlags([]string{
		"--bundle=/b", "--state=/s", "--pod-ips=10.0.0.7,fd00::7", "--port=8080", "--port=9090:15022", "--every-address", "--app-host=127.0.0.1,::1",
		`--probe=app/liveness={"protocol":"http","port":8080,"path":"/livez?a=b"}`, `--probe=app/preStop={"protocol":"tcp","port":8080}`, "--hook-secret=hush",
		"--log-level=debug",
	}, io.Discard)
	check(t, err)
	want := sidecar.Config{
		BundleDir: "/b", StateDir: "/s", PodIPs: []netip.Addr{netip.MustParseAddr("10.0.0.7"), netip.MustParseAddr("fd00::7")},
		Ports: []sidecar.Port{{App: 8080}, {App: 9090, Redirected: 15022}}, EveryAddress: true,
		AppHosts: []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::1")}, AdminPort: 15020, ProbePort: 15021,
		Probes: map[sidecar.ProbeKey]probe.Target{
			{Container: "app", Kind: "liveness"}: {Protocol: probe.HTTP, Port: 8080, Path: "/livez?a=b"},
			{Container: "app", Kind: "preStop"}:  {Protocol: probe.TCP, Port: 8080},
		},
		Secret: "hush",
		Drain:  10 * time.Second, LogLevel: slog.LevelDebug,
	}
	if diff := cmp.Diff(got, want, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("got -, want +:\n%s", diff)
	}
}

func TestWrongFlagIsNamed(t *testing.T) {
	tests := []struct {
		name string
		args []string
		want string
	}{
		{"an unknown flag", []string{"--nonsense"}, "nonsense"},
		{"an argument", []string{"serve"}, `"serve"`},
		{"an address that is none", []string{"--pod-ips=10.0.0"}, "-pod-ips"},
		{"the wildcard address", []string{"--pod-ips=0.0.0.0"}, "-pod-ips"},
		{"an address twice", []string{"--pod-ips=10.0.0.1,10.0.0.1"}, "-pod-ips"},
		{"a port that is none", []string{"--port=http"}, "-port"},
		{"a port out of range", []string{"--port=65536"}, "-port"},
		{"port 0", []string{"--port=0"}, "-port"},
		{"the sidecar's own port", []string{"--port=15020"}, "--port"},
		{"one port for two things", []string{"--admin-port=15021"}, "--probe-port"},
		{"an app on the network", []string{"--app-host=10.0.0.2"}, "--app-host"},
		{"an app on the pod's address", []string{"--app-host=127.0.0.9", "--pod-ips=127.0.0.9"}, "--app-host"},
		{"an app on the network, which is redirected in part", []string{"--app-host=127.0.0.1,10.0.0.2", "--port=81:15022"}, "--app-host"},
		{"an app on the network before all", []string{"--app-host=10.0.0.2,127.0.0.1"}, "--app-host"},
		{"a port that leads to one of the sidecar's", []string{"--port=81:15020"}, "--port"},
		{"two ports that lead to one", []string{"--port=81:15022", "--port=82:15022"}, "--port"},
		{"a port that leads nowhere", []string{"--port=81:"}, "-port"},
		{"sockets of less than none", []string{"--sockets=-1"}, "--sockets"},
		{"a probe of no kind", []string{`--probe=app/health={"protocol":"tcp","port":8080}`}, "-probe"},
		{"a probe without a port", []string{`--probe=app/liveness={"protocol":"tcp"}`}, "-probe"},
		{"a hook without a secret", []string{`--probe=app/preStop={"protocol":"tcp","port":8080}`}, "--hook-secret"},
		{"a level that is none", []string{"--log-level=chatty"}, "-log-level"},
		{"a drain that is none", []string{"--drain=-1s"}, "--drain"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			args := []string{"--bundle=/b", "--state=/s", "--port=8080"}
			if !strings.Contains(strings.Join(test.args, " "), "--pod-ips") {
				args = append(args, "--pod-ips=10.0.0.7")
			}
			_, err := sidecar.ParseFlags(append(args, test.args...), io.Discard)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want an error that names %s", err, test.want)
			}
		})
	}
}

func TestMissingFlagsAreNamedTogether(t *testing.T) {
	_, err := sidecar.ParseFlags(nil, io.Discard)
	for _, name := range []string{"--bundle", "--state", "--pod-ips", "--port"} {
		if err == nil || !strings.Contains(err.Error(), name+": required") {
			t.Errorf("got %v, want an error that names %s", err, name)
		}
	}
}

func TestHelpIsNoError(t *testing.T) {
	var usage bytes.Buffer
	_, err := sidecar.ParseFlags([]string{"--help"}, &usage)
	if !errors.Is(err, flag.ErrHelp) || !strings.Contains(usage.String(), "-pod-ips") {
		t.Errorf("got %v and %q, want flag.ErrHelp and the flags", err, usage.String())
	}
}

func TestPortThatIsTakenStopsTheStart(t *testing.T) {
	w := newWorld(t)
	taken, err := net.Listen("tcp", w.podIP+":"+port)
	check(t, err)
	defer taken.Close()
	err = runWith(t, "--pod-ips="+w.podIP, "--app-host="+w.appIP)
	if err == nil || !strings.Contains(err.Error(), w.podIP+":"+port) || !strings.Contains(err.Error(), "loopback") {
		t.Errorf("got %v, want an error that names the address and says where the app must listen", err)
	}
}

// runWith runs a sidecar that is expected not to start.
func runWith(t *testing.T, flags ...string) error {
	t.Helper()
	config, err := sidecar.ParseFlags(append([]string{
		"--bundle=" + t.TempDir(), "--state=" + t.TempDir(), "--pod-ips=127.9.9.1", "--app-host=127.9.9.2", "--port=" + port,
	}, flags...), io.Discard)
	check(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	sockets, err := sidecar.Listen(ctx, config)
	if err != nil {
		return err
	}
	return sidecar.Run(ctx, config, sockets, slog.New(slog.DiscardHandler))
}
