package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/latchkey-dev/latchkey/internal/bundle"
	"github.com/latchkey-dev/latchkey/internal/policy"
	"github.com/latchkey-dev/latchkey/internal/redirect"
	"github.com/latchkey-dev/latchkey/test/podnet"
)

// pod is a sidecar as it is shipped, in a network of its own.
type pod struct {
	testing.TB
	inside, outside *podnet.Place
	process         *exec.Cmd
	log             chan string // its lines
}

// startPod starts a sidecar that lets everybody in, with these flags beside the usual ones.
func startPod(t *testing.T, flags ...string) *pod {
	t.Helper()
	p := &pod{TB: t, log: make(chan string, 1000)}
	p.inside, p.outside = podnet.New(t)
	document, err := (&bundle.Bundle{Policy: policy.Document{Rules: []policy.Rule{{Access: policy.AccessAnonymous}}}}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	directory := t.TempDir()
	writeFile(t, filepath.Join(directory, bundle.FileName), document)
	p.process = command(append([]string{
		"--bundle=" + directory, "--state=" + t.TempDir(), "--pod-ips=" + podnet.Pod[0].String() + "," + podnet.Pod[1].String(), "--drain=1s",
	}, flags...)...)
	stderr, err := p.process.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.inside.Do(p.process.Start); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			p.log <- lines.Text()
		}
	}()
	t.Cleanup(func() {
		_ = p.process.Process.Signal(syscall.SIGTERM)
		<-ended
		_ = p.process.Wait()
	})
	p.await(`"serving"`)
	return p
}

// await waits for a line of the log.
func (p *pod) await(part string) {
	p.Helper()
	limit := time.After(patience)
	for {
		select {
		case line := <-p.log:
			if strings.Contains(line, part) {
				return
			}
		case <-limit:
			p.Fatalf("no line with %s", part)
		}
	}
}

// serveApp has everybody who asks told "app", on an address of the pod.
func (p *pod) serveApp(network, address string) error {
	listener, err := p.inside.Listen(p.Context(), network, address)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "app for "+r.Header.Get("X-Forwarded-For"))
	})}
	go func() { _ = server.Serve(listener) }()
	p.Cleanup(func() { _ = server.Close() })
	return nil
}

// get asks from somewhere, on a connection of its own.
func get(from *podnet.Place, url string) (string, error) {
	client := &http.Client{Timeout: patience, Transport: &http.Transport{DialContext: from.DialContext, DisableKeepAlives: true}}
	response, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return string(body), err
}

func (p *pod) gets(address netip.Addr, want string) {
	p.Helper()
	url := "http://" + strings.Replace(net.JoinHostPort(address.String(), "8080"), "%", "%25", 1) + "/"
	if got, err := get(p.outside, url); err != nil || !strings.HasPrefix(got, want) {
		p.Errorf("%s: got %q, %v; want %q", address, got, err, want)
	}
}

// children are the processes that a process has started.
func children(t testing.TB, pid int) []string {
	t.Helper()
	output, err := exec.Command("pgrep", "-P", fmt.Sprint(pid)).Output()
	if err != nil {
		t.Fatalf("no child of %d: %v", pid, err)
	}
	return strings.Fields(string(output))
}

func (p *pod) killChild() {
	p.Helper()
	for _, child := range children(p, p.process.Process.Pid) {
		if output, err := exec.Command("kill", "-KILL", child).CombinedOutput(); err != nil {
			p.Fatalf("%v: %s", err, output)
		}
	}
}

var loopbackMode = []string{"--port=8080", "--every-address", "--app-host=127.0.0.1,::1"}

func TestByLoopbackEveryAddressLeadsToTheSidecarAndTheAppGetsNone(t *testing.T) {
	p := startPod(t, loopbackMode...)
	reuse := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var refused error
		err := raw.Control(func(fd uintptr) { refused = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) })
		return errors.Join(err, refused)
	}}
	for network, address := range map[string]string{
		"tcp": ":8080", "tcp4": "0.0.0.0:8080", "tcp6": "[::]:8080",
		"by IPv4": "10.77.0.2:8080", "by IPv6": "[fd77::2]:8080", "by link-local": "[" + p.inside.LinkLocal.String() + "]:8080",
	} {
		if strings.HasPrefix(network, "by") {
			network = "tcp"
		}
		err := p.inside.Do(func() error {
			listener, err := reuse.Listen(t.Context(), network, address)
			if err == nil {
				_ = listener.Close()
			}
			return err
		})
		if !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("an app that listens on %s %s got %v, want that it is in use", network, address, err)
		}
	}
	if err := p.serveApp("tcp", "127.0.0.1:8080"); err != nil {
		t.Fatal(err)
	}
	for _, address := range append([]netip.Addr{p.inside.LinkLocal}, podnet.Pod...) {
		p.gets(address, "app for ")
	}
}

// A wildcard address of a family of which the pod has no address yet must not be free either.
func TestByLoopbackTheWildcardIsTakenBeforeThereIsAnAddress(t *testing.T) {
	p := startPod(t, append(loopbackMode, "--port=9090")...)
	must(t, "ip", "-n", p.inside.Name, "-6", "address", "flush", "dev", "eth0")
	for _, address := range []string{"[::]:8080", "0.0.0.0:9090"} {
		if err := p.serveApp("tcp", address); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("an app that listens on %s got %v, want that it is in use", address, err)
		}
	}
}

func TestAnAppOnIPv6LoopbackIsReached(t *testing.T) {
	p := startPod(t, loopbackMode...)
	if err := p.serveApp("tcp", "[::1]:8080"); err != nil {
		t.Fatal(err)
	}
	p.gets(podnet.Pod[0], "app for 10.77.0.1")
}

func TestByRedirectTheAppMayListenWhereItLikes(t *testing.T) {
	for _, address := range []string{"0.0.0.0:8080", "[::]:8080", "127.0.0.1:8080", "10.77.0.2:8080", "[fd77::2]:8080"} {
		t.Run(address, func(t *testing.T) {
			p := startPod(t, "--port=8080:15022", "--app-host=127.0.0.1,::1,10.77.0.2,fd77::2")
			if err := p.inside.Do(func() error { return redirect.Write([]redirect.Port{{App: 8080, Sidecar: 15022}}) }); err != nil {
				t.Fatal(err)
			}
			if err := p.serveApp("tcp", address); err != nil {
				t.Fatal(err)
			}
			p.gets(podnet.Pod[0], "app for 10.77.0.1")
			p.gets(podnet.Pod[1], "app for fd77::1")
			p.gets(p.inside.LinkLocal, "app for fe80::1")
		})
	}
}

func TestAKilledDataPlaneLosesNoPortAndNobodyWhoComesMeanwhile(t *testing.T) {
	p := startPod(t, loopbackMode...)
	if err := p.serveApp("tcp", "127.0.0.1:8080"); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var asked, failed int
	var longest time.Duration
	ctx, stop := context.WithCancel(t.Context())
	var callers sync.WaitGroup
	callers.Go(func() { // an app that waits for its chance
		for ctx.Err() == nil {
			if err := p.serveApp("tcp", "0.0.0.0:8080"); !errors.Is(err, syscall.EADDRINUSE) {
				t.Errorf("an app that listens on the wildcard got %v, want that it is in use", err)
				return
			}
		}
	})
	for range 2 {
		callers.Go(func() {
			for ctx.Err() == nil {
				began := time.Now()
				_, err := get(p.outside, "http://10.77.0.2:8080/")
				mu.Lock()
				asked++
				if err != nil {
					failed++
				}
				longest = max(longest, time.Since(began))
				mu.Unlock()
			}
		})
	}
	const kills = 3
	for range kills {
		p.killChild()
		p.await(`"serving"`)
	}
	stop()
	callers.Wait()
	t.Logf("%d requests, %d cut off by %d kills, the longest took %s", asked, failed, kills, longest)
	if failed > 2*kills { // those that were in flight
		t.Errorf("%d of %d requests failed", failed, asked)
	}
}

func must(t *testing.T, name string, args ...string) {
	t.Helper()
	if output, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, output)
	}
}
