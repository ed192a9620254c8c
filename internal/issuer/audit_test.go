package issuer_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/latchkey-dev/latchkey/internal/issuer"
	"github.com/latchkey-dev/latchkey/internal/issuer/config"
	"github.com/latchkey-dev/latchkey/internal/issuer/webhook"
	"github.com/latchkey-dev/latchkey/internal/tracing"
)

// auditLine is everything that a line of the audit log may say, as docs/api/tokenissuer.md has it.
type auditLine struct {
	Time       time.Time
	Level, Msg string
	Event      string
	Outcome    string
	Reason     string
	User       string
	Session    string
	By         string
	Address    string
	Peer       string
	Request    string
	Trace      string
	Before     string
	Sessions   int
	Counter    int64
	Current    int64
	ReplacedAt time.Time `json:"replaced_at"`
}

// audited reads the audit log from what the process has printed.
func (w *world) audited() (lines []auditLine) {
	w.t.Helper()
	for text := range strings.Lines(w.log.String()) {
		if !strings.Contains(text, `"msg":"audit"`) {
			continue
		}
		decoder := json.NewDecoder(strings.NewReader(text))
		decoder.DisallowUnknownFields()
		var one auditLine
		if err := decoder.Decode(&one); err != nil {
			w.t.Fatalf("%v: %s", err, text)
		}
		if one.Time.IsZero() || len(one.Request) != 16 || one.Peer == "" {
			w.t.Errorf("got %s, want a time, a request and a peer", text)
		}
		lines = append(lines, one)
	}
	return lines
}

func TestAuditLogTellsWhoDidWhatAndWithWhatOutcome(t *testing.T) {
	w := newWorld(t)
	w.writeConfig(replacing())
	w.process()
	first, second := w.login("alice"), w.login("alice")
	refused(t, w.do(w.loginRequest("alice", "wrong")), http.StatusUnauthorized, issuer.ReasonInvalidCredentials, false)
	refused(t, w.do(w.loginRequest(passwordOf("alice"), "x")), http.StatusUnauthorized, issuer.ReasonInvalidCredentials, false)
	for range 11 {
		w.do(w.from(w.loginRequest("bob", "wrong"), "198.51.100.4"))
	}
	next := w.mustRefresh(w.mustRefresh(first.refresh()).refresh())
	refused(t, w.refresh(first.refresh()), http.StatusUnauthorized, issuer.ReasonReuseDetected, true)
	refused(t, w.refresh(next.refresh()), http.StatusUnauthorized, issuer.ReasonNoSession, false)
	w.do(w.post("/logout", second.refresh(), ""))
	third, fourth := w.login("alice"), w.login("alice")
	w.do(w.form("/revoke", "token", third.access))
	all := w.post("/logout-all", "", "")
	all.Header.Set("Authorization", "Bearer "+fourth.access)
	all.Header.Set("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	if a := w.do(all); a.status != http.StatusNoContent {
		t.Fatalf("got %d %s", a.status, a.body)
	}
	w.checkLog()

	a, b, c, d := w.sid(first), w.sid(second), w.sid(third), w.sid(fourth)
	const here, there, trace = "192.0.2.7", "198.51.100.4", "0af7651916cd43dd8448eb211c80319c"
	want := []auditLine{
		{Level: "INFO", Event: "sign_in", Outcome: "success", User: "alice", Session: a, Address: here},
		{Level: "INFO", Event: "sign_in", Outcome: "success", User: "alice", Session: b, Address: here},
		{Level: "WARN", Event: "sign_in", Outcome: "failure", Reason: "invalid_credentials", User: "alice", Address: here},
		{Level: "WARN", Event: "sign_in", Outcome: "failure", Reason: "invalid_credentials", User: "(unknown)", Address: here},
	}
	for range 10 {
		want = append(want, auditLine{Level: "WARN", Event: "sign_in", Outcome: "failure", Reason: "invalid_credentials", User: "bob", Address: there})
	}
	want = append(want, []auditLine{
		{Level: "WARN", Event: "sign_in", Outcome: "failure", Reason: "throttled", User: "bob", Address: there},
		{Level: "WARN", Event: "refresh", Outcome: "failure", Reason: "reuse", User: "alice", Session: a, Address: here, Counter: 1, Current: 3},
		{Level: "INFO", Event: "session_ended", Outcome: "success", Reason: "reuse", User: "alice", Session: a, Address: here},
		{Level: "INFO", Event: "session_ended", Outcome: "success", Reason: "logout", User: "alice", Session: b, Address: here},
		{Level: "INFO", Event: "sign_in", Outcome: "success", User: "alice", Session: c, Address: here},
		{Level: "INFO", Event: "sign_in", Outcome: "success", User: "alice", Session: d, Address: here},
		{Level: "INFO", Event: "session_ended", Outcome: "success", Reason: "revoked", User: "alice", Session: c, Address: here},
		{Level: "INFO", Event: "sign_out_all", Outcome: "success", Reason: "ended_by_user", User: "alice", Address: here, Trace: trace, Sessions: 1},
		{Level: "INFO", Event: "session_ended", Outcome: "success", Reason: "ended_by_user", User: "alice", Session: d, Address: here, Trace: trace},
	}...)
	if diff := cmp.Diff(w.audited(), want, cmpopts.IgnoreFields(auditLine{}, "Time", "Msg", "Peer", "Request", "ReplacedAt")); diff != "" {
		t.Errorf("audit log (-got +want):\n%s", diff)
	}
}

// collector takes spans.
type collector struct {
	mu    sync.Mutex
	spans []span
}

type span struct {
	TraceID, SpanID, ParentSpanID, Name string
	Attributes                          []struct {
		Key   string
		Value struct{ StringValue, IntValue string }
	}
}

func (c *collector) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	var document struct {
		ResourceSpans []struct{ ScopeSpans []struct{ Spans []span } }
	}
	body, _ := io.ReadAll(r.Body)
	if r.URL.Path != "/v1/traces" || json.Unmarshal(body, &document) != nil || !strings.Contains(string(body), `"latchkey-issuer"`) {
		panic("not OTLP of a token service: " + string(body))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, resource := range document.ResourceSpans {
		for _, scope := range resource.ScopeSpans {
			c.spans = append(c.spans, scope.Spans...)
		}
	}
}

func TestSpansReachTheCollectorAndTheWebhookIsAskedFromThem(t *testing.T) {
	spans := &collector{}
	server := httptest.NewServer(spans)
	defer server.Close()
	var asked http.Header
	w := newWorldWithWebhook(t, func(_ webhook.Attempt, header http.Header) (int, string) {
		asked = header
		return http.StatusOK, `{"username":"carol"}`
	}, func(c *config.Config) { c.Tracing = &tracing.Config{Endpoint: server.URL, SamplingPercent: 100} })
	stop := w.run()
	r := w.loginRequest("carol", "right")
	r.Header.Set("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	r.Header.Set("Tracestate", "a=1")
	w.do(r)
	w.refresh("rubbish")
	stop() // what is waiting is sent

	if len(spans.spans) != 2 {
		t.Fatalf("got %d spans, want 2", len(spans.spans))
	}
	login, refresh := spans.spans[0], spans.spans[1]
	if login.Name != "POST /login" || login.TraceID != "0af7651916cd43dd8448eb211c80319c" || login.ParentSpanID != "b7ad6b7169203331" {
		t.Errorf("got span %+v, want a sign-in in the caller's trace", login)
	}
	if got, want := asked.Get("Traceparent"), "00-"+login.TraceID+"-"+login.SpanID+"-01"; got != want || asked.Get("Tracestate") != "a=1" {
		t.Errorf("the webhook was told %q, %q, want %q and the state with it", got, asked.Get("Tracestate"), want)
	}
	told := map[string]string{}
	for _, each := range refresh.Attributes {
		told[each.Key] = each.Value.StringValue + each.Value.IntValue
	}
	want := map[string]string{"http.request.method": "POST", "http.route": "/refresh", "latchkey.reason": "no_session", "http.response.status_code": "401"}
	if diff := cmp.Diff(told, want); diff != "" || refresh.ParentSpanID != "" {
		t.Errorf("got a parent %q and attributes (-got +want):\n%s", refresh.ParentSpanID, diff)
	}
}
