package issuer_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// shows checks that the metrics have these lines.
func (w *world) shows(lines ...string) {
	w.t.Helper()
	_, metrics, err := w.tryAdmin("/metrics")
	if err != nil {
		w.t.Fatal(err)
	}
	for _, line := range lines {
		if !strings.Contains("\n"+metrics, "\n"+line+"\n") {
			w.t.Errorf("the metrics lack %s", line)
		}
	}
}

func TestMetricsTellOfSignInsByOutcome(t *testing.T) {
	w := start(t)
	w.shows(
		`latchkey_issuer_sign_ins_total{outcome="success",way="password"} 0`,
		`latchkey_issuer_sign_ins_throttled_total{bound="name_and_network"} 0`,
		`latchkey_issuer_sign_ins_throttled_total{bound="name"} 0`,
		`latchkey_issuer_sign_ins_throttled_total{bound="network"} 0`,
	)
	w.login("alice")
	for i := range 12 {
		w.guess("bob", "wrong", fmt.Sprintf("192.0.2.%d", i))
	}
	w.do(w.post("/login", "", `{"username":"alice"`)) // names nobody
	w.do(w.post("/backend/login", "", `{"username":"alice"}`))
	w.shows(
		`latchkey_issuer_sign_ins_total{outcome="success",way="password"} 1`,
		`latchkey_issuer_sign_ins_total{outcome="invalid_credentials",way="password"} 10`,
		`latchkey_issuer_sign_ins_total{outcome="throttled",way="password"} 2`,
		`latchkey_issuer_sign_ins_total{outcome="invalid_token",way="backend"} 1`,
		`latchkey_issuer_sign_ins_throttled_total{bound="name_and_network"} 2`,
	)
}

func TestMetricsTellOfTheStore(t *testing.T) {
	w := newWorld(t)
	stop := w.run()
	token := w.mustRefresh(w.login("alice").refresh()).refresh()
	w.login("bob")
	w.refresh("AQ" + token[2:]) // of no session: that is an answer too
	if a := w.do(w.post("/logout", w.login("bob").refresh(), "")); a.status != http.StatusNoContent {
		t.Fatalf("logout: got %d %s", a.status, a.body)
	}
	w.shows(
		`latchkey_issuer_store_operation_duration_seconds_count{operation="create",result="ok"} 3`,
		`latchkey_issuer_store_operation_duration_seconds_count{operation="rotate",result="ok"} 1`,
		`latchkey_issuer_store_operation_duration_seconds_count{operation="end",result="ok"} 1`,
	)
	stop()
	w.run()
	w.eventually("sessions are counted", func() bool {
		_, metrics, err := w.tryAdmin("/metrics")
		return err == nil && strings.Contains(metrics, "\nlatchkey_issuer_sessions 2\n")
	})
}
