// Package podnet gives tests a pod's network without a pod: a namespace with an interface eth0, IPv4 and IPv6, and a neighbour on the same link in
// another. It needs Linux and root, and knows nothing of what runs there.
package podnet

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/latchkey-dev/latchkey/test/debian"
)

// The addresses of every pod, and of its neighbour: no two pods see each other.
var (
	Pod       = []netip.Addr{netip.MustParseAddr("10.77.0.2"), netip.MustParseAddr("fd77::2")}
	Neighbour = []netip.Addr{netip.MustParseAddr("10.77.0.1"), netip.MustParseAddr("fd77::1")}
)

// Place is one of the two namespaces.
type Place struct {
	// LinkLocal is the address of eth0 that every interface with IPv6 has, with its zone as the other place knows it.
	LinkLocal netip.Addr
	// Name is that of the namespace, for `ip netns exec`.
	Name string

	handle int
}

var made atomic.Int64

// New returns a pod and its neighbour, until the test ends.
func New(t testing.TB) (pod, neighbour *Place) {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("this test makes network namespaces: run it as root")
		}
		t.Skip("this test makes network namespaces: run it as root")
	}
	ip := debian.Program(t, "ip", "iproute2")
	run := func(args ...string) string {
		t.Helper()
		output, err := exec.CommandContext(context.Background(), ip, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("ip %s: %v\n%s", strings.Join(args, " "), err, output)
		}
		return string(output)
	}
	place := func(role string) *Place {
		name := fmt.Sprintf("latchkey-%d-%d-%s", os.Getpid(), made.Add(1), role)
		run("netns", "add", name)
		t.Cleanup(func() { run("netns", "delete", name) })
		return At(t, name)
	}
	pod, neighbour = place("pod"), place("neighbour")
	run("-n", pod.Name, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", neighbour.Name)
	for at, addresses := range map[*Place][]netip.Addr{pod: Pod, neighbour: Neighbour} {
		run("-n", at.Name, "link", "set", "lo", "up")
		run("-n", at.Name, "link", "set", "eth0", "addrgenmode", "none")
		run("-n", at.Name, "address", "add", addresses[0].String()+"/24", "dev", "eth0")
		run("-n", at.Name, "address", "add", addresses[1].String()+"/64", "dev", "eth0", "nodad")
		at.LinkLocal = netip.MustParseAddr(strings.Replace(addresses[1].String(), "fd77", "fe80", 1)).WithZone("eth0")
		run("-n", at.Name, "address", "add", at.LinkLocal.WithZone("").String()+"/64", "dev", "eth0", "scope", "link", "nodad")
		run("-n", at.Name, "link", "set", "eth0", "up")
	}
	return pod, neighbour
}

// At is a namespace that is there already, for as long as the test runs.
func At(t testing.TB, name string) *Place {
	t.Helper()
	handle, err := unix.Open("/run/netns/"+name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatalf("network namespace %s: %v", name, err)
	}
	t.Cleanup(func() { _ = unix.Close(handle) })
	return &Place{Name: name, handle: handle}
}

// Do has f run in the namespace: sockets that it makes and processes that it starts stay there. Functions that hand their work to other goroutines, as
// an http.Client does, escape.
func (p *Place) Do(f func() error) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine, and nobody else gets it
		if err := unix.Setns(p.handle, unix.CLONE_NEWNET); err != nil {
			result <- fmt.Errorf("enter %s: %w", p.Name, err)
			return
		}
		result <- f()
	}()
	return <-result
}

// DialContext connects from the namespace.
func (p *Place) DialContext(ctx context.Context, network, address string) (conn net.Conn, err error) {
	err = p.Do(func() (err error) {
		conn, err = new(net.Dialer).DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

// Listen listens in the namespace.
func (p *Place) Listen(ctx context.Context, network, address string) (listener net.Listener, err error) {
	err = p.Do(func() (err error) {
		listener, err = new(net.ListenConfig).Listen(ctx, network, address)
		return err
	})
	return listener, err
}
