package sidecar_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/latchkey-dev/latchkey/internal/policy"
)

// endless is an app with everything that lasts: a WebSocket, a download of events, and an upload.
func endless(rw http.ResponseWriter, r *http.Request) {
	switch {
	case r.Header.Get("Upgrade") != "":
		webSocketApp(rw, r)
	case r.Method == http.MethodPost:
		_, _ = io.Copy(io.Discard, r.Body)
	default:
		rw.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(rw, "data: first\n\n")
		_ = http.NewResponseController(rw).Flush()
		<-r.Context().Done()
	}
}

// lasting is one way to have something that lasts. Open returns when it has begun; what it returns waits for the end, and says whether that
// was one that a caller takes for a whole answer.
type lasting struct {
	name string
	open func(w *world, path, token string) (whole func() bool)
}

func lastings() []lasting {
	return []lasting{
		{"a WebSocket", func(w *world, path, token string) func() bool {
			connection := w.dial()
			_, err := io.WriteString(connection, "GET "+path+" HTTP/1.1\r\nHost: app\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nAuthorization: Bearer "+token+"\r\n\r\n")
			check(w, err)
			reader := bufio.NewReader(connection)
			response, err := http.ReadResponse(reader, nil)
			check(w, err)
			if response.StatusCode != http.StatusSwitchingProtocols {
				w.Fatalf("got %d, want a WebSocket", response.StatusCode)
			}
			return func() bool {
				_, err := io.Copy(io.Discard, reader)
				if errors.Is(err, os.ErrDeadlineExceeded) {
					w.Fatalf("got %v, want the end", err)
				}
				return false
			}
		}},
		{"events over HTTP/1.1", func(w *world, path, token string) func() bool {
			return w.openEvents(w.client.Transport.(*http.Transport), path, token)
		}},
		{"events over HTTP/2", func(w *world, path, token string) func() bool {
			transport := &http.Transport{Protocols: new(http.Protocols)}
			transport.Protocols.SetUnencryptedHTTP2(true)
			w.Cleanup(transport.CloseIdleConnections)
			return w.openEvents(transport, path, token)
		}},
		{"an upload", func(w *world, path, token string) func() bool {
			connection := w.dial()
			_, err := io.WriteString(connection, "POST "+path+" HTTP/1.1\r\nHost: app\r\nExpect: 100-continue\r\nContent-Length: 10\r\nAuthorization: Bearer "+token+"\r\n\r\n")
			check(w, err)
			reader := bufio.NewReader(connection)
			asked, err := http.ReadResponse(reader, nil)
			check(w, err)
			if asked.StatusCode != http.StatusContinue {
				w.Fatalf("got %d, want the app to ask for the body", asked.StatusCode)
			}
			_, err = io.WriteString(connection, "half.")
			check(w, err)
			return func() bool {
				response, err := http.ReadResponse(reader, nil)
				check(w, err)
				got := readAnswer(w, response)
				if got.Status != 401 || got.reason() == "" || !response.Close {
					w.Errorf("got %d %q, closing %v, want 401 with a reason and the connection closed", got.Status, got.reason(), response.Close)
				}
				return got.Status == 200
			}
		}},
	}
}

func (w *world) openEvents(transport *http.Transport, path, token string) func() bool {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	w.Cleanup(cancel)
	request, err := http.NewRequestWithContext(ctx, "GET", "http://"+w.podIP+":"+port+path, nil)
	check(w, err)
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := transport.RoundTrip(request)
	check(w, err)
	w.Cleanup(func() { response.Body.Close() })
	events := bufio.NewReader(response.Body)
	_, err = events.ReadString('\n')
	check(w, err)
	return func() bool {
		_, err := io.Copy(io.Discard, events)
		if ctx.Err() != nil {
			w.Fatal("got no end of the events")
		}
		return err == nil
	}
}

func TestWhatLastsEndsWithItsToken(t *testing.T) {
	for _, lasting := range lastings() {
		t.Run(lasting.name+" at its expiry", func(t *testing.T) {
			w := newWorld(t)
			w.serveApp(http.HandlerFunc(endless))
			w.mount(w.bundle())
			w.start()
			expires := time.Now().Truncate(time.Second).Add(2 * time.Second)
			whole := lasting.open(w, "/", w.token("alice", map[string]any{"exp": expires.Unix()}))
			if whole() {
				t.Error("got what looks like the whole of it, want it cut off")
			}
			if early := time.Until(expires); early > 0 {
				t.Errorf("got the end %v before the token's", early)
			}
			w.waitEnded("expired", "alice")
		})
		t.Run(lasting.name+" when its session is revoked", func(t *testing.T) {
			w := newWorld(t)
			w.serveApp(http.HandlerFunc(endless))
			service := w.newTokenService()
			w.mount(service.in(w.bundle()))
			service.serve()
			w.start()
			w.waitFollowed()
			whole := lasting.open(w, "/", w.token("alice", nil))
			revoked := time.Now()
			service.revoke("session-of-alice")
			if whole() {
				t.Error("got what looks like the whole of it, want it cut off")
			}
			if took := time.Since(revoked); took > time.Second {
				t.Errorf("got the end after %v, want it within a second", took)
			}
			w.waitEnded("revoked", "alice")
		})
		t.Run(lasting.name+" when its key is withdrawn", func(t *testing.T) {
			w := newWorld(t)
			w.serveApp(http.HandlerFunc(endless))
			w.mount(w.bundle())
			w.start()
			whole := lasting.open(w, "/", w.token("alice", nil))
			w.mount(w.bundle(newKey(t, "ES256")))
			if whole() {
				t.Error("got what looks like the whole of it, want it cut off")
			}
			w.waitEnded("unknown_key", "")
		})
	}
}

// waitEnded waits until the sidecar says that it has ended one exchange for this reason.
func (w *world) waitEnded(reason, subject string) {
	w.Helper()
	w.eventually("the end is counted", func() bool { return w.metric(`latchkey_sidecar_exchanges_ended_total{reason="`+reason+`"}`) == "1" })
	var recent []struct{ ID, Reason, Subject string }
	check(w, json.Unmarshal([]byte(w.send("GET", "http://"+w.appIP+":15020/decisions", "", "").Body), &recent))
	if len(recent) != 1 || recent[0].Reason != reason || recent[0].Subject != subject || recent[0].ID == "" {
		w.Errorf("got decisions %+v, want one: %s of %q", recent, reason, subject)
	}
}

func TestGRPCStreamEndsWithItsTokenInWordsOfGRPC(t *testing.T) {
	w := newWorld(t)
	w.serveGRPC()
	w.mount(w.bundle())
	w.start()
	client, ctx := w.dialGRPC(w.token("alice", map[string]any{"exp": time.Now().Add(2 * time.Second).Unix()}))
	stream := openTalk(ctx, t, client)
	say(t, stream, "hello")
	err := stream.RecvMsg(&wrapperspb.StringValue{})
	if status.Code(err) != codes.Unauthenticated || status.Convert(err).Message() != "expired" {
		t.Errorf("got %v, want Unauthenticated: expired", err)
	}
}

func TestReloadEndsWhatTheNewPolicyRefusesAndNothingElse(t *testing.T) {
	w := newWorld(t)
	w.serveApp(http.HandlerFunc(endless))
	w.mount(w.bundle())
	w.start()
	transport := w.client.Transport.(*http.Transport)
	ends := map[string]func() bool{}
	for _, path := range []string{"/public/a", "/public/b", "/mine", "/admin"} {
		ends[path] = w.openEvents(transport, path, w.token("alice", map[string]any{"roles": []string{"admin"}}))
	}
	ends["anonymous"] = w.openEvents(transport, "/public/c", "")

	b := w.bundle()
	b.Policy.Rules = append([]policy.Rule{{Paths: []policy.Path{{Prefix: "/public/b"}}, Access: policy.AccessDeny}}, b.Policy.Rules...)
	b.Policy.Rules[2].Claims[0].AnyOf = []string{"owner"}
	w.waitApplied(w.mount(b))
	for _, path := range []string{"/public/b", "/admin"} {
		if ends[path]() {
			t.Errorf("%s: got what looks like the whole of it, want it cut off", path)
		}
	}
	w.eventually("both ends are counted", func() bool {
		return w.metric(`latchkey_sidecar_exchanges_ended_total{reason="denied"}`) == "1" &&
			w.metric(`latchkey_sidecar_exchanges_ended_total{reason="claims_not_met"}`) == "1"
	})
	if got := w.metric("latchkey_sidecar_requests_in_flight"); got != "3" {
		t.Errorf("got %s requests in flight, want the other three", got)
	}
}
