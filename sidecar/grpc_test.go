package sidecar_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// shout is a gRPC service that says everything again in capital letters.
var shout = grpc.ServiceDesc{
	ServiceName: "test.Shout",
	HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{{MethodName: "Once", Handler: func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		in := &wrapperspb.StringValue{}
		if err := decode(in); err != nil {
			return nil, err
		}
		if in.Value == "fail" {
			return nil, status.Error(codes.FailedPrecondition, "not today")
		}
		incoming, _ := metadata.FromIncomingContext(ctx)
		_ = grpc.SetTrailer(ctx, metadata.Pairs("x-subject", strings.Join(incoming["x-auth-subject"], ",")))
		return wrapperspb.String(strings.ToUpper(in.Value)), nil
	}}},
	Streams: []grpc.StreamDesc{{StreamName: "Talk", ClientStreams: true, ServerStreams: true, Handler: func(_ any, stream grpc.ServerStream) error {
		stream.SetTrailer(metadata.Pairs("x-end", "said"))
		for {
			in := &wrapperspb.StringValue{}
			if err := stream.RecvMsg(in); errors.Is(err, io.EOF) {
				return nil
			} else if err != nil {
				return err
			}
			if err := stream.SendMsg(wrapperspb.String(strings.ToUpper(in.Value))); err != nil {
				return err
			}
		}
	}}, {StreamName: "Collect", ClientStreams: true, Handler: func(_ any, stream grpc.ServerStream) error {
		length := 0
		for {
			in := &wrapperspb.StringValue{}
			if err := stream.RecvMsg(in); errors.Is(err, io.EOF) {
				return stream.SendMsg(wrapperspb.String(strconv.Itoa(length)))
			} else if err != nil {
				return err
			}
			if length += len(in.Value); in.Value == "stop" {
				return status.Error(codes.ResourceExhausted, "that will do")
			}
		}
	}}, {StreamName: "Recite", ServerStreams: true, Handler: func(_ any, stream grpc.ServerStream) error {
		in := &wrapperspb.StringValue{}
		if err := stream.RecvMsg(in); err != nil {
			return err
		}
		for range messages {
			if err := stream.SendMsg(in); err != nil {
				return err
			}
		}
		return status.Error(codes.OutOfRange, "that was all")
	}}},
}

// What streams in one direction carry: more together than any window of HTTP/2 or buffer between.
const (
	messages    = 256
	messageSize = 64 << 10
)

// serveGRPC runs a gRPC app until the test ends.
func (w *world) serveGRPC() {
	w.Helper()
	listener, err := net.Listen("tcp", w.appIP+":"+port)
	check(w, err)
	server := grpc.NewServer()
	server.RegisterService(&shout, nil)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(listener)
	}()
	w.Cleanup(func() {
		server.Stop()
		<-ended
	})
}

// dialGRPC returns a client of the pod and a context that carries the token.
func (w *world) dialGRPC(token string) (*grpc.ClientConn, context.Context) {
	w.Helper()
	client, err := grpc.NewClient("passthrough:///"+w.podIP+":"+port, grpc.WithTransportCredentials(insecure.NewCredentials()))
	check(w, err)
	w.Cleanup(func() { client.Close() })
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	w.Cleanup(cancel)
	if token != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
	}
	return client, ctx
}

func newProtectedGRPC(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	w.serveGRPC()
	w.mount(w.bundle())
	w.start()
	return w
}

func TestGRPCCallPasses(t *testing.T) {
	w := newProtectedGRPC(t)
	client, ctx := w.dialGRPC(w.token("alice", nil))
	var trailer metadata.MD
	got := &wrapperspb.StringValue{}
	check(t, client.Invoke(ctx, "/test.Shout/Once", wrapperspb.String("hello"), got, grpc.Trailer(&trailer)))
	if got.Value != "HELLO" || strings.Join(trailer["x-subject"], "") != "alice" {
		t.Errorf("got %q with trailers %v, want HELLO for alice", got.Value, trailer)
	}
	err := client.Invoke(ctx, "/test.Shout/Once", wrapperspb.String("fail"), got)
	if status.Code(err) != codes.FailedPrecondition || status.Convert(err).Message() != "not today" {
		t.Errorf("got %v, want the app's own error", err)
	}
}

func TestGRPCStreamPassesBothWays(t *testing.T) {
	w := newProtectedGRPC(t)
	client, ctx := w.dialGRPC(w.token("alice", nil))
	stream := openTalk(ctx, t, client)
	for _, word := range []string{"one", "two", "three"} {
		if got := say(t, stream, word); got != strings.ToUpper(word) {
			t.Errorf("got %q, want %q", got, strings.ToUpper(word))
		}
	}
	check(t, stream.CloseSend())
	if err := stream.RecvMsg(&wrapperspb.StringValue{}); !errors.Is(err, io.EOF) {
		t.Errorf("got %v, want the end", err)
	}
	if got := stream.Trailer()["x-end"]; strings.Join(got, "") != "said" {
		t.Errorf("got trailer %v, want the app's", got)
	}
}

func TestGRPCStreamOfTheClientPasses(t *testing.T) {
	w := newProtectedGRPC(t)
	client, ctx := w.dialGRPC(w.token("alice", nil))
	description := &grpc.StreamDesc{ClientStreams: true}
	stream, err := client.NewStream(ctx, description, "/test.Shout/Collect")
	check(t, err)
	for range messages {
		check(t, stream.SendMsg(wrapperspb.String(strings.Repeat("x", messageSize))))
	}
	check(t, stream.CloseSend())
	got := &wrapperspb.StringValue{}
	check(t, stream.RecvMsg(got))
	if want := strconv.Itoa(messages * messageSize); got.Value != want {
		t.Errorf("got %s bytes at the app, want %s", got.Value, want)
	}
	// An app that has heard enough ends the call in the midst, in its own words.
	stream, err = client.NewStream(ctx, description, "/test.Shout/Collect")
	check(t, err)
	check(t, stream.SendMsg(wrapperspb.String("stop")))
	if err := stream.RecvMsg(got); status.Code(err) != codes.ResourceExhausted || status.Convert(err).Message() != "that will do" {
		t.Errorf("got %v, want the app's own error", err)
	}
}

func TestGRPCStreamOfTheServerPasses(t *testing.T) {
	w := newProtectedGRPC(t)
	client, ctx := w.dialGRPC(w.token("alice", nil))
	stream, err := client.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, "/test.Shout/Recite")
	check(t, err)
	line := strings.Repeat("x", messageSize)
	check(t, stream.SendMsg(wrapperspb.String(line)))
	check(t, stream.CloseSend())
	for i := range messages {
		got := &wrapperspb.StringValue{}
		if err := stream.RecvMsg(got); err != nil || got.Value != line {
			t.Fatalf("got %d bytes and %v as message %d, want all of it", len(got.Value), err, i)
		}
	}
	if err := stream.RecvMsg(&wrapperspb.StringValue{}); status.Code(err) != codes.OutOfRange || status.Convert(err).Message() != "that was all" {
		t.Errorf("got %v, want the status that the app ends with", err)
	}
}

func openTalk(ctx context.Context, t *testing.T, client *grpc.ClientConn) grpc.ClientStream {
	t.Helper()
	stream, err := client.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/test.Shout/Talk")
	check(t, err)
	return stream
}

func say(t *testing.T, stream grpc.ClientStream, word string) string {
	t.Helper()
	check(t, stream.SendMsg(wrapperspb.String(word)))
	got := &wrapperspb.StringValue{}
	check(t, stream.RecvMsg(got))
	return got.Value
}

func TestGRPCCallerIsRefusedInWordsOfGRPC(t *testing.T) {
	w := newProtectedGRPC(t)
	b := w.bundle()
	b.Policy.Rules[2].Paths[0].Prefix = "/test.Closed"
	w.waitApplied(w.mount(b))
	for _, test := range []struct {
		name, method, token string
		code                codes.Code
		reason              string
	}{
		{"without a token", "/test.Shout/Once", "", codes.Unauthenticated, "token_required"},
		{"with an expired one", "/test.Shout/Once", w.token("alice", map[string]any{"exp": time.Now().Add(-time.Hour).Unix()}), codes.Unauthenticated, "expired"},
		{"where nobody may", "/test.Closed/Once", w.token("alice", nil), codes.PermissionDenied, "denied"},
	} {
		client, ctx := w.dialGRPC(test.token)
		var header metadata.MD
		err := client.Invoke(ctx, test.method, wrapperspb.String("x"), &wrapperspb.StringValue{}, grpc.Header(&header))
		if status.Code(err) != test.code || status.Convert(err).Message() != test.reason {
			t.Errorf("%s: got %v, want %v %s", test.name, err, test.code, test.reason)
		}
	}
}

func TestGRPCCallToAnAppThatIsDownIsUnavailable(t *testing.T) {
	w := newWorld(t)
	w.mount(w.bundle())
	w.start()
	client, ctx := w.dialGRPC(w.token("alice", nil))
	err := client.Invoke(ctx, "/test.Shout/Once", wrapperspb.String("x"), &wrapperspb.StringValue{})
	if status.Code(err) != codes.Unavailable || status.Convert(err).Message() != "app_unreachable" {
		t.Errorf("got %v, want Unavailable app_unreachable", err)
	}
}
