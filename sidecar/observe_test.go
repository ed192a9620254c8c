package sidecar_test

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/latchkey-dev/latchkey/internal/bundle"
	"github.com/latchkey-dev/latchkey/internal/tracing"
)

// line is one of the access log.
type line struct {
	Msg, Method, Host, Path, Reason, Decision, Token, Issuer, KID, Trace string
	Status, Bytes                                                        int
	Rule                                                                 *int
}

// lines are those of the access log, so far.
func (w *world) lines() []line {
	w.Helper()
	var found []line
	for text := range strings.Lines(w.log.String()) {
		var each line
		check(w, json.Unmarshal([]byte(text), &each))
		if each.Msg == "request" {
			found = append(found, each)
		}
	}
	return found
}

const incoming = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

func TestAccessLogTellsOfRequestsAndNoSecrets(t *testing.T) {
	for _, test := range []struct {
		which bundle.AccessLog
		paths []string
	}{
		{bundle.AccessLogAll, []string{"/orders", "/public/a", "/admin", "/a;b"}},
		{bundle.AccessLogDenied, []string{"/admin", "/a;b"}},
		{"", []string{"/admin", "/a;b"}},
		{bundle.AccessLogOff, nil},
	} {
		t.Run("accessLog: "+string(test.which), func(t *testing.T) {
			w := newWorld(t)
			w.serveApp(http.HandlerFunc(echo))
			b := w.bundle()
			b.AccessLog = test.which
			w.mount(b)
			w.start()
			w.secrets = append(w.secrets, "hunter2", "alice")
			alice := w.token("alice", nil)
			w.do("GET", "/orders?password=hunter2", alice, "Cookie: session=hunter2", "Traceparent: "+incoming)
			w.do("GET", "/public/a", "")
			w.do("GET", "/admin?password=hunter2", alice)
			w.do("GET", "/a;b?password=hunter2", alice, "X-Secret: hunter2")
			if err := w.stop(); err != nil { // whatever is queued is written
				t.Error(err)
			}
			var paths []string
			for _, each := range w.lines() {
				paths = append(paths, each.Path)
				switch each.Path {
				case "/orders":
					want := line{
						Msg: "request", Method: "GET", Host: w.podIP + ":" + port, Path: "/orders", Reason: "authenticated", Token: "verified", Issuer: issuerURL,
						KID: w.key.ID(), Trace: "0af7651916cd43dd8448eb211c80319c", Status: 200, Bytes: each.Bytes,
					}
					if diff := cmp.Diff(each, want); diff != "" || each.Bytes == 0 {
						t.Errorf("got -, want + of an allowed request, of %d bytes:\n%s", each.Bytes, diff)
					}
				case "/admin":
					if each.Status != 403 || each.Reason != "claims_not_met" || each.Decision == "" || each.Rule == nil || *each.Rule != 1 {
						t.Errorf("got %+v, want a refusal by rule 1", each)
					}
				}
			}
			if diff := cmp.Diff(paths, test.paths); diff != "" {
				t.Errorf("got -, want + of the paths:\n%s", diff)
			}
		})
	}
}

func TestWithoutTracingTheTraceContextPassesUntouched(t *testing.T) {
	w := newProtectedApp(t)
	for _, header := range []string{incoming, "00-rubbish"} {
		got := w.do("GET", "/public", "", "Traceparent: "+header, "Tracestate: a=1").seen(t).Header
		if got.Get("Traceparent") != header || got.Get("Tracestate") != "a=1" {
			t.Errorf("got %q and %q at the app, want both as they were sent", got.Get("Traceparent"), got.Get("Tracestate"))
		}
	}
	if got := w.do("GET", "/public", "").seen(t).Header.Get("Traceparent"); got != "" {
		t.Errorf("got %q at the app, want none", got)
	}
}

// collector takes spans.
type collector struct {
	mu    sync.Mutex
	spans []map[string]any
}

func (c *collector) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	var document struct {
		ResourceSpans []struct {
			ScopeSpans []struct{ Spans []map[string]any }
		}
	}
	if r.URL.Path != "/otlp/v1/traces" || r.Header.Get("Content-Type") != "application/json" || json.Unmarshal(body, &document) != nil {
		panic("not OTLP: " + r.URL.Path + " " + string(body))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, resource := range document.ResourceSpans {
		for _, scope := range resource.ScopeSpans {
			c.spans = append(c.spans, scope.Spans...)
		}
	}
}

func TestSpansReachTheCollectorAndTheAppIsCalledFromThem(t *testing.T) {
	w := newWorld(t)
	w.serveApp(http.HandlerFunc(echo))
	spans := &collector{}
	server := httptest.NewServer(spans)
	defer server.Close()
	b := w.bundle()
	b.Tracing = &tracing.Config{Endpoint: server.URL + "/otlp", SamplingPercent: 100}
	w.mount(b)
	w.start()

	inTrace := w.do("GET", "/public/a?password=hunter2", "", "Traceparent: "+incoming, "Tracestate: a=1").seen(t).Header
	begun := w.do("GET", "/public/b", "", "Traceparent: rubbish", "Tracestate: a=1").seen(t).Header
	w.do("GET", "/orders", "")
	unsampled := strings.TrimSuffix(incoming, "1") + "0"
	w.do("GET", "/public/c", "", "Traceparent: "+unsampled)
	if err := w.stop(); err != nil { // what is waiting is sent
		t.Error(err)
	}

	if len(spans.spans) != 3 {
		t.Fatalf("got %d spans, want 3: one was not sampled", len(spans.spans))
	}
	first := spans.spans[0]
	if first["traceId"] != "0af7651916cd43dd8448eb211c80319c" || first["parentSpanId"] != "b7ad6b7169203331" || first["traceState"] != "a=1" || first["kind"] != 2.0 {
		t.Errorf("got span %v, want one in the caller's trace", first)
	}
	if got, want := inTrace.Get("Traceparent"), "00-0af7651916cd43dd8448eb211c80319c-"+first["spanId"].(string)+"-01"; got != want || inTrace.Get("Tracestate") != "a=1" {
		t.Errorf("got Traceparent %q at the app, want %q, and the state with it", got, want)
	}
	second := spans.spans[1]
	if got, want := begun.Get("Traceparent"), "00-"+second["traceId"].(string)+"-"+second["spanId"].(string)+"-01"; got != want || begun.Get("Tracestate") != "" {
		t.Errorf("got Traceparent %q and Tracestate %q at the app, want %q, and no state of another trace", got, begun.Get("Tracestate"), want)
	}
	text, err := json.Marshal(spans.spans)
	check(t, err)
	for _, want := range []string{`"latchkey.reason"`, `"token_required"`, `"url.path"`, `"/public/a"`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("got spans %s, want %s in them", text, want)
		}
	}
	if strings.Contains(string(text), "hunter2") {
		t.Error("the spans hold a query")
	}
}

// A collector that takes connections and says nothing.
func TestCollectorThatHangsHoldsUpNothing(t *testing.T) {
	w := newWorld(t)
	w.serveApp(http.HandlerFunc(echo))
	silent, err := net.Listen("tcp", w.appIP+":4318")
	check(t, err)
	defer silent.Close()
	b := w.bundle()
	b.Tracing = &tracing.Config{Endpoint: "http://" + w.appIP + ":4318", SamplingPercent: 100}
	b.AccessLog = bundle.AccessLogOff
	w.mount(b)
	w.start()
	for range 1500 { // more than wait
		if got := w.do("GET", "/public", "").Status; got != 200 {
			t.Fatalf("got %d, want 200", got)
		}
	}
	if got := w.metric("latchkey_sidecar_spans_dropped_total"); got == "0" || got == "" {
		t.Errorf("got %q spans dropped, want some", got)
	}
}

func TestMetricsTellHowLongAndByWhichBundle(t *testing.T) {
	w := newProtectedApp(t)
	w.do("GET", "/public", "")
	w.do("GET", "/orders", "")
	revision := w.applied().Volumes["latchkey-bundle"].Applied[:12]
	for line, want := range map[string]string{
		`latchkey_sidecar_request_duration_seconds_count{outcome="allowed"}`: "1",
		`latchkey_sidecar_request_duration_seconds_count{outcome="refused"}`: "1",
		`latchkey_sidecar_judging_duration_seconds_count`:                    "2",
		`latchkey_sidecar_bundle_info{revision="` + revision + `"}`:          "1",
		`latchkey_sidecar_log_lines_dropped_total`:                           "0",
	} {
		if got := w.metric(line); got != want {
			t.Errorf("got %s %q, want %q", line, got, want)
		}
	}
}

func TestHeadIsRefusedWithoutABody(t *testing.T) {
	w := newProtectedApp(t)
	got := w.do("HEAD", "/orders", "")
	if got.Status != 401 || got.Body != "" || got.Header.Get("Content-Type") != "application/problem+json" || got.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("got %+v, want the headers of a refusal and no body", got)
	}
}
