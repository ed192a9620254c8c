package sidecar_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestRevokedSessionIsRefusedWithinASecond(t *testing.T) {
	w, service := newWorldWithTokenService(t)
	service.serve()
	w.start()
	w.waitFollowed()
	alice, bob := w.token("alice", nil), w.token("bob", nil)
	for _, token := range []string{alice, bob} {
		if got := w.do("GET", "/", token).Status; got != 200 {
			t.Fatalf("got %d, want 200 while the session lasts", got)
		}
	}

	service.revoke("session-of-alice")
	took := w.eventually("alice's token is refused", func() bool { return w.do("GET", "/", alice).Status == 401 })
	if took > time.Second {
		t.Errorf("got it refused after %v, want within a second", took)
	}
	if got := w.do("GET", "/", alice); got.reason() != "revoked" ||
		got.Header.Get("WWW-Authenticate") != `Bearer error="invalid_token", error_description="revoked"` {
		t.Errorf("got %q with %q, want revoked", got.reason(), got.Header.Get("WWW-Authenticate"))
	}
	if got := w.do("GET", "/", w.token("alice", map[string]any{"jti": "another"})).reason(); got != "revoked" {
		t.Errorf("got %q for another token of the session, want revoked", got)
	}
	if got := w.do("GET", "/public", alice).seen(t).Header.Get("X-Auth-Subject"); got != "" {
		t.Errorf("got a revoked token to identify %q on an anonymous path, want nobody", got)
	}
	if got := w.do("GET", "/", bob).Status; got != 200 {
		t.Errorf("got %d for another session, want 200", got)
	}
	if got := w.applied().Revocations[issuerURL]; got != 1 {
		t.Errorf("got revocations applied up to %d, want 1", got)
	}
}

func TestRevocationsOutliveTheProcessWhileTheTokenServiceIsDown(t *testing.T) {
	w, service := newWorldWithTokenService(t)
	stopService := service.serve()
	w.start()
	service.revoke("session-of-alice")
	w.eventually("the revocation is applied", func() bool { return w.applied().Revocations[issuerURL] == 1 })
	check(t, w.stop())
	stopService()

	w.start()
	alice := w.token("alice", nil)
	if got := w.do("GET", "/", alice).reason(); got != "revoked" {
		t.Errorf("got %q after a restart, want revoked", got)
	}

	service.takeFollows()
	service.serve()
	w.waitFollowed()
	if got := service.takeFollows(); len(got) == 0 || got[0] != "after=1&stream=first" {
		t.Errorf("got the stream asked for with %q, want it resumed after 1", got)
	}
}

func TestRevocationStreamIsResumedAfterAnOutage(t *testing.T) {
	w, service := newWorldWithTokenService(t)
	stop := service.serve()
	w.start()
	w.waitFollowed()
	stop()
	w.eventually("the loss is noticed", func() bool {
		return w.metric(`latchkey_sidecar_revocation_stream_connected{issuer="`+issuerURL+`"}`) == "0"
	})
	service.revoke("session-of-alice") // while nobody can hear it
	service.serve()
	w.eventually("alice's token is refused", func() bool { return w.do("GET", "/", w.token("alice", nil)).reason() == "revoked" })
}

func TestLostDatabaseOfTheTokenServiceBringsNoSessionBack(t *testing.T) {
	w, service := newWorldWithTokenService(t)
	stop := service.serve()
	w.start()
	service.revoke("session-of-alice")
	w.eventually("the revocation is applied", func() bool { return w.applied().Revocations[issuerURL] == 1 })
	stop()
	service.loseDatabase()
	service.serve()
	w.eventually("the new stream is followed", func() bool { return w.applied().Revocations[issuerURL] == 0 })
	if got := w.do("GET", "/", w.token("alice", nil)).reason(); got != "revoked" {
		t.Errorf("got %q, want what was revoked to stay revoked", got)
	}
	service.revoke("session-of-bob") // number 1 of the new stream
	w.eventually("bob's token is refused", func() bool { return w.do("GET", "/", w.token("bob", nil)).reason() == "revoked" })
}

func TestRevocationsOutliveAChangeOfBundle(t *testing.T) {
	w, service := newWorldWithTokenService(t)
	service.serve()
	w.start()
	service.revoke("session-of-alice")
	w.eventually("the revocation is applied", func() bool { return w.applied().Revocations[issuerURL] == 1 })

	b := service.in(w.bundle(w.key, newKey(t, "ES256")))
	w.waitApplied(w.mount(b))
	if got := w.do("GET", "/", w.token("alice", nil)).reason(); got != "revoked" {
		t.Errorf("got %q after a reload, want revoked", got)
	}
	if got := len(service.takeFollows()); got != 1 {
		t.Errorf("got the stream opened %d times, want once: the reload did not concern it", got)
	}

	b.Issuers[0].TokenService.URL = "https://moved.shop.svc:8443"
	w.waitApplied(w.mount(b))
	if got := w.do("GET", "/", w.token("alice", nil)).reason(); got != "revoked" {
		t.Errorf("got %q after the token service has moved, want revoked", got)
	}
}

func TestRevocationStreamOfAnImpostorIsNotFollowed(t *testing.T) {
	w, service := newWorldWithTokenService(t)
	service.serve("somebody-else.shop.svc")
	w.start()
	service.revoke("session-of-alice")
	w.eventually("the sidecar has tried", func() bool { return strings.Contains(w.log.String(), "revocation stream not followed") })
	if got := w.do("GET", "/", w.token("alice", nil)).Status; got != 200 {
		t.Errorf("got %d, want 200: only the token service may revoke", got)
	}
	if got := w.do("POST", "/auth/login", "").reason(); got != "token_service_unreachable" {
		t.Errorf("got %q, want no password sent to an impostor", got)
	}
}

func TestDamagedStateIsNotBelieved(t *testing.T) {
	w, service := newWorldWithTokenService(t)
	stop := service.serve()
	w.start()
	service.revoke("session-of-alice")
	w.eventually("the revocation is applied", func() bool { return w.applied().Revocations[issuerURL] == 1 })
	check(t, w.stop())
	files, err := filepath.Glob(filepath.Join(w.stateDir, "revocations-*.json"))
	check(t, err)
	if len(files) != 1 {
		t.Fatalf("got state files %v, want one", files)
	}
	check(t, os.WriteFile(files[0], []byte(`{"version":1,"stream":"first","number":7,"entr`), 0o600))
	stop()

	service.serve()
	w.start()
	w.eventually("everything was sent again", func() bool { return w.do("GET", "/", w.token("alice", nil)).reason() == "revoked" })
}

func TestStateDirectoryIsNeverFilledBeyondItsRoom(t *testing.T) {
	w, service := newWorldWithTokenService(t)
	other := filepath.Join(w.stateDir, "revocations-of-another-issuer.json")
	check(t, os.WriteFile(other, nil, 0o600))
	check(t, os.Truncate(other, 60<<20))
	service.serve()
	w.start()
	service.revoke("session-of-alice")
	w.eventually("the sidecar says that it does not save", func() bool { return strings.Contains(w.log.String(), "revocations not saved") })
	if files, err := os.ReadDir(w.stateDir); err != nil || len(files) != 1 {
		t.Errorf("got %v, %v, want only the file that was there: a pod that takes more than its room is evicted", files, err)
	}
	w.eventually("the revocation is in force", func() bool { return w.do("GET", "/", w.token("alice", nil)).reason() == "revoked" })
}

func TestStateDirectoryMustBeWritable(t *testing.T) {
	err := runWith(t, "--state="+filepath.Join(t.TempDir(), "not-there"))
	if err == nil || !strings.Contains(err.Error(), "--state") {
		t.Errorf("got %v, want an error that names --state", err)
	}
}
