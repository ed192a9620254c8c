//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/gorilla/websocket"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// line is a connection on which an app is asked, one request after the other.
type line struct {
	net.Conn
	reader *bufio.Reader
	// dialled is how many connections it took.
	dialled int
	dial    func(context.Context) (net.Conn, error)
}

// reply is an answer, without what is between the two ends of one connection, and when it was. The words behind the status are the sidecar's own.
type reply struct {
	Status int
	Header http.Header
	Length int64
	body   []byte
}

// ask sends a request, such as "GET /" or "GET /\nRange: bytes=0-1", the lines behind the first being headers, with a body behind an empty one.
func (l *line) ask(ctx context.Context, request, token string) (*reply, error) {
	head, body, _ := strings.Cut(request, "\n\n")
	lines := strings.Split(head, "\n")
	method, target, _ := strings.Cut(lines[0], " ")
	text := method + " " + target + " HTTP/1.1\r\nHost: shop.example\r\n" + strings.Join(append(lines[1:], ""), "\r\n")
	if token != "" {
		text += "Authorization: Bearer " + token + "\r\n"
	}
	if body != "" {
		text += fmt.Sprintf("Content-Length: %d\r\n", len(body))
	}
	if l.Conn == nil {
		conn, err := l.dial(ctx)
		if err != nil {
			return nil, err
		}
		l.Conn, l.reader = conn, bufio.NewReader(conn)
		l.dialled++
	}
	if deadline, ok := ctx.Deadline(); ok {
		_ = l.SetDeadline(deadline)
	}
	if _, err := io.WriteString(l.Conn, text+"\r\n"+body); err != nil {
		return nil, err
	}
	response, err := http.ReadResponse(l.reader, &http.Request{Method: method})
	if err != nil {
		return nil, err
	}
	content, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	if response.Close {
		l.hangUp()
	}
	for _, name := range []string{"Connection", "Keep-Alive", "Date"} {
		response.Header.Del(name)
	}
	if response.StatusCode == http.StatusNoContent { // which must not have a length (RFC 9110, 8.6), though Express says 0
		response.Header.Del("Content-Length")
	}
	if kind := response.Header.Get("Content-Type"); strings.HasPrefix(kind, "multipart/") { // each answer has a boundary of its own
		_, boundary, _ := strings.Cut(kind, "boundary=")
		response.Header.Set("Content-Type", strings.ReplaceAll(kind, boundary, "boundary"))
		content = bytes.ReplaceAll(content, []byte(boundary), []byte("boundary"))
	}
	return &reply{response.StatusCode, response.Header, response.ContentLength, content}, nil
}

func (l *line) hangUp() {
	if l.Conn != nil {
		_ = l.Close()
	}
	l.Conn = nil
}

// compare asks the app itself and then its sidecar the same, and returns what came through the sidecar by request, and over how many connections.
func (w *workload) compare(port string, requests ...string) (through map[string]*reply, connections int) {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), patience)
	defer cancel()
	direct := &line{dial: func(ctx context.Context) (net.Conn, error) { return w.itself(ctx, port) }}
	caller := &line{dial: func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", w.address(port))
	}}
	defer direct.hangUp()
	defer caller.hangUp()
	through = map[string]*reply{}
	for _, request := range requests {
		want, err := direct.ask(ctx, request, "")
		must(w.T, err)
		got, err := caller.ask(ctx, request, w.token)
		if err != nil {
			w.Fatalf("%q: %v", request, err)
		}
		if diff := cmp.Diff(got, want, cmpopts.IgnoreUnexported(reply{})); diff != "" {
			w.Errorf("%q (-through the sidecar +the app itself):\n%s", request, diff)
		}
		if !bytes.Equal(got.body, want.body) {
			w.Errorf("%q: got a body of %d bytes, want that of the app itself, which has %d and is another", request, len(got.body), len(want.body))
		}
		through[request] = got
	}
	return through, caller.dialled
}

// through asks the sidecar alone: what would not be answered alike twice.
func (w *workload) through(port, request string) *reply {
	w.Helper()
	caller := &line{dial: func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", w.address(port))
	}}
	defer caller.hangUp()
	ctx, cancel := context.WithTimeout(w.Context(), patience)
	defer cancel()
	got, err := caller.ask(ctx, request, w.token)
	must(w.T, err)
	return got
}

func checkNginx(w *workload) {
	found, connections := w.compare("80", "GET /", "HEAD /", "GET /\nAccept-Encoding: gzip", "GET /manual", "GET /manual/", "GET /nowhere",
		"GET /large.bin", "HEAD /large.bin", "GET /large.bin\nRange: bytes=1000-1999", "GET /large.bin\nRange: bytes=0-99,1000-1099",
		"GET /large.bin\nRange: bytes=99999999-", "GET /manual/")
	if connections != 1 {
		w.Errorf("it took %d connections, want 1 that is kept", connections)
	}
	page := found["GET /"]
	for request, want := range map[string]string{"GET /manual": "http://shop.example/manual/"} {
		if got := found[request].Header.Get("Location"); got != want {
			w.Errorf("%s leads to %q, want %q", request, got, want)
		}
	}
	if got := found["GET /\nAccept-Encoding: gzip"].Header.Get("Content-Encoding"); got != "gzip" {
		w.Errorf("got the page in %q, want gzip", got)
	}
	if !bytes.Contains(page.body, []byte("Welcome to nginx!")) {
		w.Errorf("got the page %q, want Debian's", page.body)
	}
	unchanged, _ := w.compare("80", "GET /\nIf-None-Match: "+page.Header.Get("ETag"), "GET /\nIf-Modified-Since: "+page.Header.Get("Last-Modified"), "POST /\n\nbody")
	for request, got := range unchanged {
		if strings.HasPrefix(request, "GET ") && got.Status != http.StatusNotModified {
			w.Errorf("%q: got %d, want 304", request, got.Status)
		}
	}
	for _, request := range []string{"GET /", "GET /\nX-Auth-Subject: mallory"} {
		if got, want := string(w.through("8081", request).body), "alice\n"; got != want {
			w.Errorf("%q: nginx knows the caller as %q, want %q", request, got, want)
		}
	}
}

func checkPython(w *workload) {
	found, connections := w.compare("8000", "GET /", "HEAD /", "GET /manual", "GET /manual/", "GET /nowhere", "GET /large.bin", "HEAD /large.bin",
		"GET /large.bin\nRange: bytes=1000-1999", "GET /")
	if connections != 1 {
		w.Errorf("it took %d connections, want 1 that is kept, though the app keeps none", connections)
	}
	modified := found["HEAD /large.bin"].Header.Get("Last-Modified")
	_, _ = w.compare("8000", "GET /large.bin\nIf-Modified-Since: "+modified, "POST /\n\nbody")
}

func checkJSONServer(w *workload) {
	found, connections := w.compare("3000", "GET /", "GET /posts", "HEAD /posts", "GET /posts?_page=1&_limit=1", "GET /posts/1", "GET /posts/9", "GET /nowhere",
		"GET /posts\nOrigin: https://elsewhere.example", "OPTIONS /posts\nOrigin: https://elsewhere.example\nAccess-Control-Request-Method: PUT", "GET /posts\nAccept-Encoding: gzip",
		"PUT /profile\nContent-Type: application/json\n\n{\"name\": \"nobody\"}", "GET /profile")
	if connections != 1 {
		w.Errorf("it took %d connections, want 1 that is kept", connections)
	}
	if got, want := found["GET /posts?_page=1&_limit=1"].Header.Get("Link"), "<http://shop.example/posts?_page=1&_limit=1>"; !strings.HasPrefix(got, want) {
		w.Errorf("the app links to %q, want %q", got, want)
	}
	_, _ = w.compare("3000", "GET /posts\nIf-None-Match: "+found["GET /posts"].Header.Get("ETag"))

	created := w.through("3000", "POST /posts\nContent-Type: application/json\n\n{\"title\": \"third\"}")
	if got, want := created.Header.Get("Location"), "http://shop.example/posts/3"; got != want {
		w.Errorf("what was made is at %q, want %q", got, want)
	}
	// It would obey these: what was judged as POST must not become DELETE.
	if got := w.through("3000", "POST /posts/3\nX-HTTP-Method-Override: DELETE"); got.Status != http.StatusNotFound {
		w.Errorf("got %d, want the app's 404 for a POST there", got.Status)
	}
	for _, step := range []struct {
		request string
		status  int
	}{{"GET /posts/3", http.StatusOK}, {"DELETE /posts/3", http.StatusOK}, {"GET /posts/3", http.StatusNotFound}} {
		if got := w.through("3000", step.request); got.Status != step.status {
			w.Errorf("%s: got %d, want %d", step.request, got.Status, step.status)
		}
	}
}

func checkWebSocket(w *workload) {
	_, _ = w.compare("1234", "GET /", "HEAD /", "GET /room")
	ctx, cancel := context.WithTimeout(w.Context(), patience)
	defer cancel()
	// y-protocols: what do you have? Nothing. Twice, once from each side.
	talk := func(dialer websocket.Dialer, address, token string) ([][]byte, error) {
		header := http.Header{}
		if token != "" {
			header.Set("Authorization", "Bearer "+token)
		}
		conn, response, err := dialer.DialContext(ctx, "ws://"+address+"/room", header)
		if err != nil {
			if response != nil {
				err = errors.New(response.Status)
			}
			return nil, err
		}
		defer conn.Close()
		if err := conn.WriteMessage(websocket.BinaryMessage, []byte{0, 0, 1, 0}); err != nil {
			return nil, err
		}
		var said [][]byte
		for range 2 {
			_, message, err := conn.ReadMessage()
			if err != nil {
				return nil, err
			}
			said = append(said, message)
		}
		return said, nil
	}
	want, err := talk(websocket.Dialer{NetDialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return w.itself(ctx, "1234") }}, "localhost:1234", "")
	must(w.T, err)
	got, err := talk(websocket.Dialer{}, w.address("1234"), w.token)
	must(w.T, err)
	if diff := cmp.Diff(got, want); diff != "" {
		w.Errorf("what the WebSocket says (-through the sidecar +the app itself):\n%s", diff)
	}
	if _, err := talk(websocket.Dialer{}, w.address("1234"), ""); err == nil || err.Error() != "401 Unauthorized" {
		w.Errorf("without a token: got %v, want 401", err)
	}
}

func checkEtcd(w *workload) {
	const keys = `{"key": "YQ=="}`
	_, connections := w.compare("2379", "GET /version", "HEAD /version", "GET /health", "POST /v3/kv/range\n\n"+keys, "POST /v3/nothing\n\n"+keys)
	if connections != 1 {
		w.Errorf("it took %d connections, want 1 that is kept", connections)
	}
	w.streams()
	w.tellsItsHealth()
}

// streams: etcd's gateway sends JSON as it comes. What is put is seen at once.
func (w *workload) streams() {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), patience)
	defer cancel()
	watch, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+w.address("2379")+"/v3/watch", strings.NewReader(`{"create_request": {"key": "YQ=="}}`))
	must(w.T, err)
	watch.Header.Set("Authorization", "Bearer "+w.token)
	stream, err := http.DefaultClient.Do(watch)
	must(w.T, err)
	defer stream.Body.Close()
	for lines, i := bufio.NewReader(stream.Body), 0; i < 2; i++ {
		text, err := lines.ReadString('\n')
		must(w.T, err)
		if want := []string{`"created":true`, `"value":"Yg=="`}[i]; !strings.Contains(text, want) {
			w.Errorf("the stream says %s, want %s", text, want)
		}
		if got := w.through("2379", "POST /v3/kv/put\n\n"+`{"key": "YQ==", "value": "Yg=="}`); got.Status != http.StatusOK {
			w.Errorf("put: got %d", got.Status)
		}
	}
}

// tellsItsHealth by gRPC: one answer, or a stream of them.
func (w *workload) tellsItsHealth() {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), patience)
	defer cancel()
	conn, err := grpc.NewClient("passthrough:///"+w.address("2379"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	must(w.T, err)
	defer conn.Close()
	health := grpc_health_v1.NewHealthClient(conn)
	for _, test := range []struct {
		token, service string
		check, watch   codes.Code
		says           grpc_health_v1.HealthCheckResponse_ServingStatus
	}{
		{"", "", codes.Unauthenticated, codes.Unauthenticated, 0},
		{w.token, "", codes.OK, codes.OK, grpc_health_v1.HealthCheckResponse_SERVING},
		{w.token, "nothing", codes.NotFound, codes.OK, grpc_health_v1.HealthCheckResponse_SERVICE_UNKNOWN},
	} {
		asked, request := ctx, &grpc_health_v1.HealthCheckRequest{Service: test.service}
		if test.token != "" {
			asked = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+test.token)
		}
		_, failure := health.Check(asked, request)
		if got := status.Code(failure); got != test.check {
			w.Errorf("health of %q: got %v, want %v", test.service, failure, test.check)
		}
		var said *grpc_health_v1.HealthCheckResponse
		stream, failure := health.Watch(asked, request)
		if failure == nil {
			said, failure = stream.Recv()
		}
		if got := status.Code(failure); got != test.watch || said.GetStatus() != test.says {
			w.Errorf("the stream of the health of %q: got %v and %v, want %v and %v", test.service, failure, said.GetStatus(), test.watch, test.says)
		}
	}
}

// checkInterop has the gRPC project's own client judge.
func checkInterop(w *workload) {
	client := filepath.Join(filepath.Dir(os.Getenv("LATCHKEY_E2E_WORKLOADS")), "interop-client")
	try := func(name, token string) error {
		_, err := output(w.Context(), client, "--server_host="+w.pod.Status.PodIP, "--server_port=10000", "--test_case="+name, "--additional_metadata=authorization:Bearer "+token)
		return err
	}
	for _, name := range []string{
		"empty_unary", "large_unary", "client_streaming", "server_streaming", "ping_pong", "empty_stream", "timeout_on_sleeping_server", "cancel_after_begin",
		"cancel_after_first_response", "status_code_and_message", "special_status_message", "custom_metadata", "unimplemented_method", "unimplemented_service",
	} {
		if err := try(name, w.token); err != nil {
			w.Errorf("%s: %v", name, err)
		}
	}
	if err := try("empty_unary", "none"); err == nil || !strings.Contains(err.Error(), "Unauthenticated") {
		w.Errorf("without a valid token: got %v, want Unauthenticated", err)
	}
}
