package sidecar_test

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const bound = time.Minute

// newBoundedWorld is a pod whose policy bears no loss of revocations beyond the bound.
func newBoundedWorld(t *testing.T) (*world, *tokenService) {
	t.Helper()
	w := newWorld(t)
	w.serveApp(http.HandlerFunc(echo))
	service := w.newTokenService()
	b := service.in(w.bundle())
	b.RevocationBound = bound
	w.mount(b)
	return w, service
}

// age makes what the sidecar has saved of revocations so old.
func (w *world) age(by time.Duration) {
	w.Helper()
	files, err := filepath.Glob(filepath.Join(w.stateDir, "revocations-*.json"))
	check(w, err)
	if len(files) != 1 {
		w.Fatalf("got state files %v, want one", files)
	}
	then := time.Now().Add(-by)
	check(w, os.Chtimes(files[0], then, then))
}

func (w *world) expectUnknown(token string) {
	w.Helper()
	got := w.do("GET", "/", token)
	if got.Status != 503 || got.reason() != "revocations_unknown" || got.Header.Get("Retry-After") == "" || got.Header.Get("WWW-Authenticate") != "" {
		w.Errorf("got %d %q with %v, want 503 revocations_unknown with Retry-After and no challenge", got.Status, got.reason(), got.Header)
	}
	if got := w.do("GET", "/public", "").Status; got != 200 {
		w.Errorf("got %d without a token, want 200: it does not concern those", got)
	}
}

func TestTokensAreRefusedWhileNobodyHasToldWhoWasSignedOut(t *testing.T) {
	w, service := newBoundedWorld(t)
	w.start()
	token := w.token("alice", nil)
	w.expectUnknown(token)
	service.serve()
	w.eventually("the token is taken", func() bool { return w.do("GET", "/", token).Status == 200 })
}

func TestSavedRevocationsCountForAsLongAsTheyAreFresh(t *testing.T) {
	w, service := newBoundedWorld(t)
	stopService := service.serve()
	w.start()
	w.waitFollowed()
	token := w.token("alice", nil)
	w.eventually("the token is taken", func() bool { return w.do("GET", "/", token).Status == 200 })
	check(t, w.stop())
	stopService()

	w.age(bound / 2)
	w.start()
	if got := w.do("GET", "/", token).Status; got != 200 {
		t.Errorf("got %d with what was saved half the bound ago, want 200", got)
	}
	check(t, w.stop())

	w.age(2 * bound)
	w.start()
	w.expectUnknown(token)
	service.serve()
	w.eventually("the token is taken", func() bool { return w.do("GET", "/", token).Status == 200 })
}

func TestLossIsBornePatientlyByDefault(t *testing.T) {
	w, service := newWorldWithTokenService(t)
	w.start()
	if got := w.do("GET", "/", w.token("alice", nil)).Status; got != 200 {
		t.Errorf("got %d, want 200 though nobody was heard", got)
	}
	metric := `latchkey_sidecar_revocations_confirmed_timestamp_seconds{issuer="` + issuerURL + `"}`
	if got := w.metric(metric); got != "0" {
		t.Errorf("got %s for when the service was last heard, want 0", got)
	}
	service.serve()
	w.eventually("the service is heard", func() bool { return w.metric(metric) != "0" })
}

func TestStreamsEndWhenRevocationsBecomeUnknown(t *testing.T) {
	w := newWorld(t)
	w.serveGRPC()
	service := w.newTokenService()
	w.mount(service.in(w.bundle()))
	w.start()
	client, ctx := w.dialGRPC(w.token("alice", nil))
	stream := openTalk(ctx, t, client)
	say(t, stream, "hello")
	b := service.in(w.bundle())
	b.RevocationBound = bound
	w.mount(b)
	err := stream.RecvMsg(&wrapperspb.StringValue{})
	if status.Code(err) != codes.Unavailable || status.Convert(err).Message() != "revocations_unknown" {
		t.Errorf("got %v, want Unavailable: revocations_unknown", err)
	}
}
