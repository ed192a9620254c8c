package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/latchkey-dev/latchkey/internal/bundle"
	"github.com/latchkey-dev/latchkey/internal/keyset"
	"github.com/latchkey-dev/latchkey/internal/policy"
	"github.com/latchkey-dev/latchkey/internal/signing"
)

const (
	idleConnections = 10_000
	openStreams     = 2_000
	podMemory       = 512 << 20 // what the webhook limits the container to
	patience        = time.Minute
)

// The pod's memory limit holds while as many callers as the default limits let in keep their connections open.
func TestTenThousandConnectionsAndTwoThousandStreamsFitIntoThePod(t *testing.T) {
	raiseFileLimit(t, idleConnections+2*openStreams+500)
	const pod, app = "127.201.0.1", "127.201.0.2"
	serveEvents(t, app+":8080")
	sidecar := startSidecar(t, pod, app, &bundle.Bundle{
		Policy: policy.Document{Rules: []policy.Rule{{Access: policy.AccessAnonymous}}},
		Limits: bundle.Limits{MaxConnections: idleConnections + openStreams},
	})
	idle := residentBytes(t, sidecar)

	hold(t, pod+":8080", "/idle", idleConnections)
	withConnections := residentBytes(t, sidecar)
	hold(t, pod+":8080", "/events", openStreams)
	withAll := residentBytes(t, sidecar)
	t.Logf("resident: %d MiB idle, %d MiB with %d connections, %d MiB with %d streams more",
		idle>>20, withConnections>>20, idleConnections, withAll>>20, openStreams)
	if withAll > podMemory {
		t.Errorf("got %d MiB, want it below the %d MiB of the pod", withAll>>20, podMemory>>20)
	}
}

// An open stream that says nothing keeps no buffers. Some 20 kB are left of it, 8 of them the goroutine's stack.
func TestStreamTakesThirtyKilobytesAtMost(t *testing.T) {
	raiseFileLimit(t, 2*openStreams+500)
	const pod, app = "127.201.0.7", "127.201.0.8"
	serveEvents(t, app+":8080")
	sidecar := startSidecar(t, pod, app, &bundle.Bundle{Policy: policy.Document{Rules: []policy.Rule{{Access: policy.AccessAnonymous}}}})
	before := residentBytes(t, sidecar)
	hold(t, pod+":8080", "/events", openStreams)
	each := (residentBytes(t, sidecar) - before) / openStreams
	t.Logf("resident: %.1f kB a stream", float64(each)/1e3)
	if each > 30e3 {
		t.Errorf("got %.1f kB a stream, want 30 at most", float64(each)/1e3)
	}
}

// A policy with an expression takes the most at rest: the whole of CEL. Tokens take the same without.
func TestSidecarTakesFifteenMegabytesAtRestAndThirtyWithTenThousandTokens(t *testing.T) {
	const pod, app, other, noApp = "127.201.0.3", "127.201.0.4", "127.201.0.5", "127.201.0.6"
	serveEvents(t, app+":8080")
	key, err := signing.Generate("HS256", 0)
	if err != nil {
		t.Fatal(err)
	}
	set, err := keyset.NewSet(key.Public(time.Time{}))
	if err != nil {
		t.Fatal(err)
	}
	keys, err := set.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	rule := policy.Rule{Claims: []policy.Requirement{{Claim: "roles", AnyOf: []string{"editor"}}}, Scopes: []string{"orders"}}
	document := func(rule policy.Rule) *bundle.Bundle {
		return &bundle.Bundle{
			Policy:  policy.Document{Rules: []policy.Rule{rule}},
			Issuers: []bundle.Issuer{{URL: "https://auth.example", Audiences: []string{"shop"}, Keys: keys, Symmetric: true}},
		}
	}
	withExpression := rule
	withExpression.Expression = `claims.level > 2`
	const most, mostLoaded = 15e6, 30e6
	resting := startSidecar(t, other, noApp, document(withExpression))
	for deadline := time.Now().Add(patience); residentBytes(t, resting) > most && time.Now().Before(deadline); {
		<-time.After(10 * time.Millisecond) // it gives back what starting took a moment after it listens
	}
	loaded := startSidecar(t, pod, app, document(rule))
	askWithTokens(t, pod+":8080", key, 10_000)
	atRest, withTokens := float64(residentBytes(t, resting)), float64(residentBytes(t, loaded))
	t.Logf("resident: %.1f MB at rest, %.1f MB with 10,000 tokens", atRest/1e6, withTokens/1e6)
	if atRest > most || withTokens > mostLoaded {
		t.Errorf("got %.1f MB at rest and %.1f MB with 10,000 tokens, want 15 and 30 at most", atRest/1e6, withTokens/1e6)
	}
}

// askWithTokens sends one request with each of so many tokens, over 32 connections, and wants each to be let in.
func askWithTokens(t *testing.T, address string, key *signing.Key, count int) {
	t.Helper()
	now := time.Now()
	numbers, faults := make(chan int), make(chan error, 32)
	for range 32 {
		go func() {
			transport := &http.Transport{}
			defer transport.CloseIdleConnections()
			var fault error
			for i := range numbers {
				if fault != nil {
					continue
				}
				token, err := key.Sign("at+jwt", fmt.Appendf(nil, `{"iss":"https://auth.example","aud":"shop","sub":"user-%d","iat":%d,"exp":%d,"jti":"token-%d",`+
					`"roles":["editor","reader"],"email":"user%d@shop.example","scope":"orders profile","client_id":"shop","level":3}`, i, now.Unix(), now.Add(time.Hour).Unix(), i, i))
				if err == nil {
					err = askWithToken(transport, address, token)
				}
				fault = err
			}
			faults <- fault
		}()
	}
	for i := range count {
		numbers <- i
	}
	close(numbers)
	for range 32 {
		if fault := <-faults; fault != nil {
			t.Fatal(fault)
		}
	}
}

func askWithToken(transport *http.Transport, address, token string) error {
	request, err := http.NewRequest(http.MethodGet, "http://"+address+"/", nil)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := transport.RoundTrip(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("got %s", response.Status)
	}
	_, err = io.Copy(io.Discard, response.Body)
	return err
}

// startSidecar starts the program as it is shipped, and returns the id of its process when it has answered.
func startSidecar(t *testing.T, pod, app string, document *bundle.Bundle) int {
	t.Helper()
	data, err := document.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	directory := t.TempDir()
	writeFile(t, filepath.Join(directory, bundle.FileName), data)
	cmd := exec.Command(build(t), "--bundle="+directory, "--state="+t.TempDir(), "--pod-ips="+pod, "--app-host="+app, "--port=8080", "--drain=1s")
	cmd.Env = append(os.Environ(), "GOMEMLIMIT=440MiB")
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	for deadline := time.Now().Add(patience); ; {
		if response, err := http.Get("http://" + pod + ":8080/"); err == nil {
			response.Body.Close()
			http.DefaultClient.CloseIdleConnections()
			return cmd.Process.Pid
		}
		if time.Now().After(deadline) {
			t.Fatal("the sidecar does not listen")
		}
		<-time.After(10 * time.Millisecond)
	}
}

// build makes the program as it is shipped: the test's own binary may have the race detector in it, which takes six times the memory.
func build(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "latchkey-sidecar")
	cmd := exec.Command("go", "build", "-ldflags=-s -w", "-o", program, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	return program
}

// serveEvents runs an app that answers at once, or begins an answer that does not end.
func serveEvents(t *testing.T, address string) {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: first\n\n")
		if r.URL.Path == "/events" {
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}
	})}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(listener)
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-ended
	})
}

// hold opens so many connections, has one request answered, or begun to be answered, on each, and keeps them until the test ends.
func hold(t *testing.T, address, path string, count int) {
	t.Helper()
	var opening sync.WaitGroup
	var mu sync.Mutex
	var connections []net.Conn
	t.Cleanup(func() {
		for _, connection := range connections {
			connection.Close()
		}
	})
	faults := make(chan error, 16)
	for worker := range 16 {
		opening.Go(func() {
			for range (count + worker) / 16 {
				connection, err := ask(address, path)
				if err != nil {
					faults <- err
					return
				}
				mu.Lock()
				connections = append(connections, connection)
				mu.Unlock()
			}
		})
	}
	opening.Wait()
	close(faults)
	for fault := range faults {
		t.Fatal(fault)
	}
	if len(connections) != count {
		t.Fatalf("got %d connections, want %d", len(connections), count)
	}
}

func ask(address, path string) (net.Conn, error) {
	connection, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	_ = connection.SetDeadline(time.Now().Add(patience))
	if _, err = io.WriteString(connection, "GET "+path+" HTTP/1.1\r\nHost: app\r\n\r\n"); err != nil {
		return nil, err
	}
	response, err := http.ReadResponse(bufio.NewReaderSize(connection, 512), nil)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("got %s for %s", response.Status, path)
	}
	_, err = io.ReadFull(response.Body, make([]byte, len("data: first\n\n")))
	return connection, err
}

func writeFile(t *testing.T, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// residentBytes is the memory of the process and its child: what each has of its own, and the pages of the program's file once.
func residentBytes(t *testing.T, pid int) int64 {
	t.Helper()
	var own, file int64
	for _, process := range append(children(t, pid), strconv.Itoa(pid)) {
		status, err := os.ReadFile("/proc/" + process + "/status")
		if err != nil {
			t.Fatal(err)
		}
		own += bytesOf(t, string(status), "RssAnon:")
		file = max(file, bytesOf(t, string(status), "RssFile:"))
	}
	return own + file
}

func bytesOf(t *testing.T, status, name string) int64 {
	t.Helper()
	_, rest, _ := strings.Cut(status, name)
	kilobytes, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kilobytes << 10
}

func raiseFileLimit(t *testing.T, to uint64) {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if limit.Cur >= to {
		return
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: to, Max: max(to, limit.Max)}); err != nil {
		t.Fatalf("this test needs %d open files and may have %d: raise the limit (ulimit -n): %v", to, limit.Max, err)
	}
}
