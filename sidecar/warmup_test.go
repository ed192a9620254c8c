package sidecar_test

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-dev/latchkey/internal/bundle"
)

const unwarmed = "latchkey_sidecar_ready_without_revocations"

func (w *world) stateFiles() []string {
	w.Helper()
	files, err := filepath.Glob(filepath.Join(w.stateDir, "revocations-*.json"))
	check(w, err)
	return files
}

func TestNewPodIsReadyOnceItKnowsWhoWasSignedOut(t *testing.T) {
	w, service := newWorldWithTokenService(t)
	service.revoke("session-of-alice")
	w.start()
	if got := w.admin("/readyz"); got.Status != 503 || !strings.Contains(got.Body, "waiting for the revocations of "+issuerURL) {
		t.Errorf("got %d %q, want 503 while the revocations are not there", got.Status, got.Body)
	}
	service.serve()
	w.eventually("the pod is ready", func() bool { return w.admin("/readyz").Status == 200 })
	if got := w.do("GET", "/", w.token("alice", nil)).reason(); got != "revoked" {
		t.Errorf("got %q from a pod that is ready, want revoked", got)
	}
	if got := w.metric(unwarmed); got != "0" {
		t.Errorf("got %s %q, want 0", unwarmed, got)
	}

	b := service.in(w.bundle())
	other := b.Issuers[0]
	other.URL = "https://other.example"
	other.TokenService = &bundle.TokenService{URL: "https://other.shop.svc:8443", Address: w.appIP + ":8444", CA: other.TokenService.CA, Token: service.token}
	b.Issuers = append(b.Issuers, other)
	w.waitApplied(w.mount(b))
	if got := w.admin("/readyz"); got.Status != 200 {
		t.Errorf("got %d %q with a token service that came later, want a ready pod to stay ready", got.Status, got.Body)
	}
}

func TestPartOfTheRevocationsIsNotTakenForAll(t *testing.T) {
	w, service := newWorldWithTokenService(t)
	service.endless = true
	service.serve()
	service.revoke("session-of-alice")
	for range 2 { // the second process has nothing that the first would have saved
		w.start()
		w.eventually("the revocation is applied", func() bool { return w.applied().Revocations[issuerURL] == 1 })
		if got := w.admin("/readyz").Status; got != 503 {
			t.Errorf("got %d before the snapshot is complete, want 503", got)
		}
		check(t, w.stop())
	}
	if got := w.stateFiles(); len(got) > 0 {
		t.Errorf("got %v, want nothing saved that is not complete", got)
	}
}

func TestPodWithSavedRevocationsIsReadyAtOnce(t *testing.T) {
	w, service := newWorldWithTokenService(t)
	stopService := service.serve()
	w.start()
	w.eventually("the state is saved", func() bool { return len(w.stateFiles()) == 1 })
	check(t, w.stop())
	stopService()
	w.start()
	if got := w.admin("/readyz"); got.Status != 200 {
		t.Errorf("got %d %q, want 200 while the token service is down", got.Status, got.Body)
	}
}

func TestUnreachableTokenServiceDoesNotKeepPodsDown(t *testing.T) {
	w, _ := newWorldWithTokenService(t)
	w.start()
	took := w.eventually("the pod is ready all the same", func() bool { return w.admin("/readyz").Status == 200 })
	if took < 4*time.Second || took > 8*time.Second {
		t.Errorf("got it ready after %v, want about 5 s", took)
	}
	w.eventually("the metric says so", func() bool { return w.metric(unwarmed) == "1" })
	w.eventually("the log says so", func() bool { return strings.Contains(w.log.String(), "ready without all revocations") })
}
