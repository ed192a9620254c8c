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
	"github.com/latchkey-dev/latchkey/internal/policy"
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
	document, err := (&bundle.Bundle{
		Policy: policy.Document{Rules: []policy.Rule{{Access: policy.AccessAnonymous}}},
		Limits: bundle.Limits{MaxConnections: idleConnections + openStreams},
	}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	directory := t.TempDir()
	writeFile(t, filepath.Join(directory, bundle.FileName), document)
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
		if connection, err := net.Dial("tcp", pod+":8080"); err == nil {
			connection.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the sidecar does not listen")
		}
		<-time.After(10 * time.Millisecond)
	}
	idle := residentBytes(t, cmd.Process.Pid)

	hold(t, pod+":8080", "/idle", idleConnections)
	withConnections := residentBytes(t, cmd.Process.Pid)
	hold(t, pod+":8080", "/events", openStreams)
	withAll := residentBytes(t, cmd.Process.Pid)
	t.Logf("resident: %d MiB idle, %d MiB with %d connections, %d MiB with %d streams more",
		idle>>20, withConnections>>20, idleConnections, withAll>>20, openStreams)
	if withAll > podMemory {
		t.Errorf("got %d MiB, want it below the %d MiB of the pod", withAll>>20, podMemory>>20)
	}
}

// build makes the program as it is shipped: the test's own binary may have the race detector in it, which takes six times the memory.
func build(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "latchkey-sidecar")
	if output, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
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

// residentBytes is the resident set of the process and its child. What both have of the program's file is there once, and counted twice.
func residentBytes(t *testing.T, pid int) int64 {
	t.Helper()
	sum := resident(t, strconv.Itoa(pid))
	for _, child := range children(t, pid) {
		sum += resident(t, child)
	}
	return sum
}

func resident(t *testing.T, pid string) int64 {
	t.Helper()
	status, err := os.ReadFile("/proc/" + pid + "/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
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
