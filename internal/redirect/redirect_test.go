package redirect_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey-dev/latchkey/internal/redirect"
	"github.com/latchkey-dev/latchkey/test/debian"
	"github.com/latchkey-dev/latchkey/test/podnet"
)

// patience bounds what must be answered; a dropped SYN is not, and is not waited for longer than dropped.
const (
	patience = 5 * time.Second
	dropped  = 300 * time.Millisecond
)

var ports = []redirect.Port{{App: 8080, Sidecar: 15022}, {App: 80, Sidecar: 15023}}

// serve has everybody who connects told a name, on an address of a namespace.
func serve(t *testing.T, at *podnet.Place, network, address, name string) {
	t.Helper()
	listener, err := at.Listen(t.Context(), network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, name+" sees "+conn.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap().WithZone("").String())
			_ = conn.Close()
		}
	}()
}

// pod has an app and a sidecar, and the rules.
func pod(t *testing.T) (pod, neighbour *podnet.Place) {
	t.Helper()
	pod, neighbour = podnet.New(t)
	for _, port := range ports {
		serve(t, pod, "tcp", ":"+strconv.Itoa(int(port.App)), "app "+strconv.Itoa(int(port.App)))
		serve(t, pod, "tcp", ":"+strconv.Itoa(int(port.Sidecar)), "sidecar "+strconv.Itoa(int(port.App)))
	}
	serve(t, pod, "tcp", ":9999", "app 9999")
	if err := pod.Do(func() error { return redirect.Write(ports) }); err != nil {
		t.Fatal(err)
	}
	return pod, neighbour
}

func ask(from *podnet.Place, address string, limit time.Duration) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	conn, err := from.DialContext(ctx, "tcp", address)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(limit))
	told, err := io.ReadAll(conn)
	return string(told), err
}

func TestCallersFromOutsideGetToTheSidecarOnEveryAddressAndAreSeen(t *testing.T) {
	pod, neighbour := pod(t)
	// The zone is the neighbour's own name of the link.
	addresses := append([]netip.Addr{pod.LinkLocal}, podnet.Pod...)
	for i, from := range append([]netip.Addr{neighbour.LinkLocal.WithZone("")}, podnet.Neighbour...) {
		for _, port := range []string{"8080", "80"} {
			got, err := ask(neighbour, net.JoinHostPort(addresses[i].String(), port), patience)
			if want := "sidecar " + port + " sees " + from.String(); err != nil || got != want {
				t.Errorf("%s: got %q, %v; want %q", addresses[i], got, err, want)
			}
		}
	}
	if got, err := ask(neighbour, net.JoinHostPort(podnet.Pod[0].String(), "9999"), patience); !strings.HasPrefix(got, "app 9999") {
		t.Errorf("a port that is not listed: got %q, %v; want the app", got, err)
	}
}

func TestInsideThePodTheAppIsReachedOnEveryAddress(t *testing.T) {
	pod, _ := pod(t)
	for _, address := range append([]netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::1"), pod.LinkLocal}, podnet.Pod...) {
		got, err := ask(pod, net.JoinHostPort(address.String(), "8080"), patience)
		if err != nil || !strings.HasPrefix(got, "app 8080") {
			t.Errorf("%s: got %q, %v; want the app", address, got, err)
		}
	}
}

// A service mesh redirects incoming connections too, in iptables' chain at the priority dstnat. Without a sidecar of ours to go to first, its proxy
// would hand them to the app over lo.
func TestTheSidecarComesBeforeOthersThatRedirect(t *testing.T) {
	pod, neighbour := pod(t)
	serve(t, pod, "tcp", ":15006", "mesh")
	nft := exec.Command("ip", "netns", "exec", pod.Name, debian.Program(t, "nft", "nftables"), "-f", "-")
	nft.Stdin = strings.NewReader("table inet mesh { chain in { type nat hook prerouting priority dstnat; meta l4proto tcp redirect to :15006; }; }")
	if output, err := nft.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	for port, want := range map[string]string{"8080": "sidecar 8080", "9999": "mesh"} {
		got, err := ask(neighbour, net.JoinHostPort(podnet.Pod[0].String(), port), patience)
		if err != nil || !strings.HasPrefix(got, want) {
			t.Errorf("port %s: got %q, %v; want %s", port, got, err, want)
		}
	}
}

// Without address translation, which somebody may have switched off for a connection, the guard is what is left.
func TestWhatSlipsPastTheRedirectIsDropped(t *testing.T) {
	pod, neighbour := pod(t)
	nft := exec.Command("ip", "netns", "exec", pod.Name, debian.Program(t, "nft", "nftables"), "-f", "-")
	nft.Stdin = strings.NewReader("table inet slip { chain in { type filter hook prerouting priority raw; tcp dport 8080 notrack; }; }")
	if output, err := nft.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	for _, address := range podnet.Pod {
		got, err := ask(neighbour, net.JoinHostPort(address.String(), "8080"), dropped)
		if silence := net.Error(nil); !errors.As(err, &silence) || !silence.Timeout() {
			t.Errorf("%s: got %q, %v; want no answer", address, got, err)
		}
	}
}

func TestWritingAgainUnderLoadLosesNobodyAndLeavesTheRulesOnce(t *testing.T) {
	pod, neighbour := pod(t)
	again := make(chan struct{})
	var callers sync.WaitGroup
	for _, address := range podnet.Pod {
		callers.Go(func() {
			for {
				select {
				case <-again:
					return
				default:
				}
				got, err := ask(neighbour, net.JoinHostPort(address.String(), "8080"), patience)
				if err != nil || !strings.HasPrefix(got, "sidecar") {
					t.Errorf("got %q, %v; want the sidecar", got, err)
					return
				}
			}
		})
	}
	took := make([]time.Duration, 20)
	for i := range took {
		began := time.Now()
		if err := pod.Do(func() error { return redirect.Write(ports) }); err != nil {
			t.Fatal(err)
		}
		took[i] = time.Since(began)
	}
	close(again)
	callers.Wait()
	t.Logf("written in %v", took)
	output, err := exec.Command("ip", "netns", "exec", pod.Name, debian.Program(t, "nft", "nftables"), "list", "ruleset").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	if got, want := strings.Count(string(output), "tcp dport"), 2*len(ports); got != want {
		t.Errorf("got %d rules, want %d:\n%s", got, want, output)
	}
}

func TestPortsAreRead(t *testing.T) {
	if got, err := redirect.ParsePort("80:15022"); err != nil || got != (redirect.Port{App: 80, Sidecar: 15022}) {
		t.Errorf("got %v, %v", got, err)
	}
	for _, wrong := range []string{"", "80", "80:", ":80", "80:80", "0:80", "80:65536", "80:1:2", "-1:80"} {
		if _, err := redirect.ParsePort(wrong); err == nil {
			t.Errorf("%q: got no error, want one", wrong)
		}
	}
}
