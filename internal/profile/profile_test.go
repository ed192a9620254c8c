package profile_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-dev/latchkey/internal/profile"
)

func TestGoToolReadsEachProfile(t *testing.T) {
	server := httptest.NewServer(profile.Handler())
	defer server.Close()
	for name, want := range map[string]string{"profile?seconds=1": "Type: cpu", "heap": "Type: inuse_space", "allocs": "Type: alloc_space", "goroutine": "Type: goroutine"} {
		t.Run(name, func(t *testing.T) {
			read := exec.Command("go", "tool", "pprof", "-top", server.URL+profile.Path+name)
			read.Env = append(read.Environ(), "PPROF_TMPDIR="+t.TempDir())
			output, err := read.CombinedOutput()
			if err != nil || !strings.Contains(string(output), want) {
				t.Errorf("got %v and\n%s\nwant %s", err, output, want)
			}
		})
	}
}

func TestNothingElseIsOffered(t *testing.T) {
	server := httptest.NewServer(profile.Handler())
	defer server.Close()
	for _, path := range []string{"", "cmdline", "symbol", "trace", "trace?seconds=1", "threadcreate", "block", "mutex", "heap/", "../"} {
		if got, _ := get(t, server.URL+profile.Path+path); got != http.StatusNotFound {
			t.Errorf("%q: got %d, want 404", path, got)
		}
	}
	// As text, stacks would have the arguments of functions.
	if _, got := get(t, server.URL+profile.Path+"goroutine?debug=2"); !strings.HasPrefix(got, "\x1f\x8b") {
		t.Errorf("goroutine?debug=2: got %q, want the form for go tool pprof all the same", got)
	}
	response, err := http.Post(server.URL+profile.Path+"heap", "text/plain", nil)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if got, want := response.StatusCode, http.StatusMethodNotAllowed; got != want {
		t.Errorf("POST: got %d, want %d", got, want)
	}
}

func TestAProfileIsBoundedInTime(t *testing.T) {
	server := httptest.NewServer(profile.Handler())
	defer server.Close()
	for _, seconds := range []string{"0", "-1", "61", "1e3", "0.5", "x", "99999999999999999999"} {
		if got, _ := get(t, server.URL+profile.Path+"profile?seconds="+seconds); got != http.StatusBadRequest {
			t.Errorf("seconds=%s: got %d, want 400", seconds, got)
		}
	}
}

func TestOneProfileIsMadeAtATimeAndEndsWithWhoAskedForIt(t *testing.T) {
	server := httptest.NewServer(profile.Handler())
	defer server.Close()
	asking, hangUp := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for asking.Err() == nil { // it may be the one that is refused
			request, _ := http.NewRequestWithContext(asking, http.MethodGet, server.URL+profile.Path+"profile?seconds=60", nil)
			if response, err := http.DefaultClient.Do(request); err == nil {
				_, _ = io.Copy(io.Discard, response.Body)
				response.Body.Close()
			}
		}
	}()
	heap := func() int { status, _ := get(t, server.URL+profile.Path+"heap"); return status }
	eventually(t, "a second one is refused", func() bool { return heap() == http.StatusTooManyRequests })
	hangUp()
	<-ended
	eventually(t, "the next is made", func() bool { return heap() == http.StatusOK })
}

func TestProfilesAreServedOnLoopbackAloneAndUntilTheEnd(t *testing.T) {
	for _, address := range []string{"0.0.0.0:6060", "[::]:6060", "10.0.0.1:6060", "169.254.0.1:6060", "[fe80::1]:6060", "[::ffff:10.0.0.1]:6060"} {
		if err := profile.Serve(t.Context(), netip.MustParseAddrPort(address)); err == nil || !strings.Contains(err.Error(), "must be a loopback address") {
			t.Errorf("%s: got %v, want it refused", address, err)
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := netip.MustParseAddrPort(listener.Addr().String())
	listener.Close()
	running, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- profile.Serve(running, address) }()
	url := fmt.Sprintf("http://%s%sheap", address, profile.Path)
	eventually(t, "profiles are served", func() bool {
		response, err := http.Get(url)
		if err != nil {
			return false
		}
		response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
	stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline := time.After(time.Minute)
	for !is() {
		select {
		case <-deadline:
			t.Fatalf("not within a minute: %s", what)
		case <-time.After(10 * time.Millisecond):
		}
	}
}
