package sidecar_test

import (
	"encoding/json"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// metric is the value of one line of /metrics, "" when there is none.
func (w *world) metric(line string) string {
	w.Helper()
	for each := range strings.Lines(w.admin("/metrics").Body) {
		if value, found := strings.CutPrefix(strings.TrimSpace(each), line+" "); found {
			return value
		}
	}
	return ""
}

// decision is one entry of /decisions.
type decision struct {
	ID, Method, Path, Reason, Issuer, Subject, Detail string
	Status                                            int
	Rule                                              *int
	Audited                                           bool
}

func (w *world) decisions() []decision {
	w.Helper()
	var found []decision
	check(w, json.Unmarshal([]byte(w.send("GET", "http://"+w.appIP+":15020/decisions", "", "").Body), &found))
	return found
}

func TestRefusalCanBeLookedUpInsideThePod(t *testing.T) {
	w := newProtectedApp(t)
	bob := w.token("bob", nil)
	w.do("GET", "/orders", bob)
	refused := w.do("GET", "/admin/users?password=hunter2", bob)
	var told struct{ Decision string }
	check(t, json.Unmarshal([]byte(refused.Body), &told))

	rule := 1
	want := []decision{{
		ID: told.Decision, Method: "GET", Path: "/admin/users", Status: 403, Reason: "claims_not_met", Issuer: issuerURL, Subject: "bob", Rule: &rule,
	}}
	if diff := cmp.Diff(w.decisions(), want); diff != "" {
		t.Errorf("got -, want +:\n%s", diff)
	}
	if got := w.admin("/decisions").Status; got != 404 {
		t.Errorf("got %d on the pod's address, want 404: decisions tell of callers", got)
	}
}

func TestProfilesAreServedInsideThePodWhereTheyAreAskedFor(t *testing.T) {
	for _, test := range []struct {
		name   string
		flags  []string
		inside int
	}{{"not asked for", nil, 404}, {"asked for", []string{"--profile"}, 200}} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			w.mount(w.bundle())
			w.start(test.flags...)
			const path = "/debug/pprof/heap"
			if got := w.send("GET", "http://"+w.appIP+":15020"+path, "", "").Status; got != test.inside {
				t.Errorf("inside the pod: got %d, want %d", got, test.inside)
			}
			if got := w.admin(path).Status; got != 404 {
				t.Errorf("on the pod's address: got %d, want 404", got)
			}
			if got := w.do("GET", path, "").Status; got != 401 {
				t.Errorf("on the app's port: got %d, want 401: it is the app's path", got)
			}
		})
	}
}

func TestDecisionsAreBounded(t *testing.T) {
	w := newProtectedApp(t)
	for range 260 {
		w.do("GET", "/"+strings.Repeat("a", 1000), "")
	}
	got := w.decisions()
	if len(got) != 256 || len(got[0].Path) != 256 {
		t.Errorf("got %d decisions with paths of %d bytes, want 256 of 256", len(got), len(got[0].Path))
	}
}

func TestRefusalsDoNotKeepTheirRequestsInMemory(t *testing.T) {
	w := newWorld(t)
	w.mount(w.bundle())
	w.start("--log-level=info") // the log of this world is in memory, too
	heap := func() int {
		runtime.GC()
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		return int(stats.HeapAlloc)
	}
	before := heap()
	for range 256 {
		w.do("GET", "/closed/"+strings.Repeat("a", 60<<10), "")
	}
	if grown := heap() - before; grown > 8<<20 {
		t.Errorf("got %d KiB more in use after 256 refusals with long paths, want them forgotten", grown>>10)
	}
}

func TestMetricsCountByReason(t *testing.T) {
	w := newProtectedApp(t)
	alice := w.token("alice", nil)
	w.do("GET", "/", alice)
	w.do("GET", "/", alice)
	w.do("GET", "/", "")
	w.do("GET", "/", "rubbish")
	w.do("GET", "/public", "")
	for line, want := range map[string]string{
		`latchkey_sidecar_requests_allowed_total{reason="authenticated"}`:               "2",
		`latchkey_sidecar_requests_allowed_total{reason="anonymous"}`:                   "1",
		`latchkey_sidecar_requests_refused_total{reason="token_required",status="401"}`: "1",
		`latchkey_sidecar_requests_refused_total{reason="malformed",status="401"}`:      "1",
		`latchkey_sidecar_tokens_total{result="verified"}`:                              "1",
		`latchkey_sidecar_tokens_total{result="cached"}`:                                "1",
		`latchkey_sidecar_tokens_total{result="refused"}`:                               "1",
		`latchkey_sidecar_tokens_total{result="none"}`:                                  "2",
		`latchkey_sidecar_bundle_loads_total{result="applied"}`:                         "1",
		`latchkey_sidecar_bundle_rejected`:                                              "0",
	} {
		if got := w.metric(line); got != want {
			t.Errorf("got %s %q, want %q", line, got, want)
		}
	}
}

func TestAppliedTellsWhatIsInForce(t *testing.T) {
	w := newWorld(t)
	other := newKey(t, "ES256")
	hash := w.mount(w.bundle(w.key, other))
	w.start()
	got := w.applied()
	if got.Volumes["latchkey-bundle"].Applied != hash {
		t.Errorf("got applied %q, want %q", got.Volumes["latchkey-bundle"].Applied, hash)
	}
	want := []string{min(w.key.ID(), other.ID()), max(w.key.ID(), other.ID())}
	if diff := cmp.Diff(got.KeyIDs, want); diff != "" {
		t.Errorf("got -, want + of the key ids:\n%s", diff)
	}
}

func TestProbesAskTheAppWithoutAToken(t *testing.T) {
	w := newWorld(t)
	status := http.StatusOK
	stop := w.serveApp(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.RequestURI != "/healthz?full=1" || r.Host != w.podIP+":8080" || r.Header.Get("X-Auth-Subject") != "" {
			t.Errorf("got %s on %s with %v, want /healthz?full=1 on the pod's own address", r.RequestURI, r.Host, r.Header)
		}
		rw.Header().Set("Location", "/elsewhere")
		rw.WriteHeader(status)
		_, _ = rw.Write([]byte("internals"))
	}))
	w.start(`--probe=app/readiness={"protocol":"http","port":8080,"path":"/healthz?full=1"}`)
	probe := func(path string) answer {
		return w.send("GET", "http://"+w.podIP+":15021"+path, "", "", "X-Auth-Subject: mallory")
	}

	if got := probe("/app/readiness"); got.Status != 200 || got.Body != "" {
		t.Errorf("got %d %q, want the app's 200 and nothing of its body", got.Status, got.Body)
	}
	status = http.StatusInternalServerError
	if got := probe("/app/readiness").Status; got != 500 {
		t.Errorf("got %d, want the app's 500", got)
	}
	status = http.StatusFound
	if got := probe("/app/readiness").Status; got != 302 {
		t.Errorf("got %d, want the app's 302", got)
	}
	for _, path := range []string{"/app/liveness", "/other/readiness", "/", "/app/readiness/x"} {
		if got := probe(path).Status; got != 404 {
			t.Errorf("%s: got %d, want 404", path, got)
		}
	}
	stop()
	if got := probe("/app/readiness").Status; got != 502 {
		t.Errorf("got %d while the app is down, want 502", got)
	}
}
