package sidecar_test

import (
	"net/http"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// recorder is an app that remembers what it was asked.
type recorder struct {
	mu    sync.Mutex
	asked []string
}

func (r *recorder) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	r.mu.Lock()
	r.asked = append(r.asked, request.Method+" "+request.RequestURI)
	r.mu.Unlock()
	echo(w, request)
}

func (r *recorder) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.asked)
}

func TestNoRequestReachesTheAppUnjudged(t *testing.T) {
	tests := []struct {
		name     string
		lines    []string
		statuses []int
		asked    []string // of the app
	}{
		{
			"a length and chunks: the chunks count, here and there",
			[]string{
				"POST /public HTTP/1.1", "Host: app", "Content-Length: 5", "Transfer-Encoding: chunked", "",
				"0", "", "GET /admin HTTP/1.1", "Host: app", "", "",
			},
			[]int{200, 401}, []string{"POST /public"},
		},
		{
			"two lengths",
			[]string{"POST /public HTTP/1.1", "Host: app", "Content-Length: 0", "Content-Length: 35", "", "GET /admin HTTP/1.1", "Host: app", "", ""},
			[]int{400}, nil,
		},
		{
			"a request behind a body",
			[]string{"POST /public HTTP/1.1", "Host: app", "Content-Length: 2", "", "hiGET /admin HTTP/1.1", "Host: app", "", ""},
			[]int{200, 401}, []string{"POST /public"},
		},
		{
			"an unknown transfer coding",
			[]string{"POST /public HTTP/1.1", "Host: app", "Transfer-Encoding: chunked, identity", "", "0", "", ""},
			[]int{501}, nil,
		},
		{
			"a space before the colon",
			[]string{"POST /public HTTP/1.1", "Host: app", "Transfer-Encoding : chunked", "", "0", "", ""},
			[]int{400}, nil,
		},
		{
			"chunks in a protocol that has none: there is no body, and what comes is judged for itself",
			[]string{"POST /public HTTP/1.0", "Host: app", "Connection: keep-alive", "Transfer-Encoding: chunked", "", "GET /admin HTTP/1.1", "Host: app", "", ""},
			[]int{200, 401}, []string{"POST /public"},
		},
		{
			"two hosts",
			[]string{"GET /public HTTP/1.1", "Host: app", "Host: other", "", ""},
			[]int{400}, nil,
		},
		{
			"an absolute form: the path is judged",
			[]string{"GET http://elsewhere/admin HTTP/1.1", "Host: app", "", ""},
			[]int{401}, nil,
		},
		{
			"an absolute form that may pass goes to the app, nowhere else",
			[]string{"GET http://user:pass@elsewhere/public HTTP/1.1", "Host: app", "", ""},
			[]int{200}, []string{"GET /public"},
		},
		{
			"the path of nothing",
			[]string{"OPTIONS * HTTP/1.1", "Host: app", "", ""},
			[]int{400}, nil,
		},
		{
			"a tunnel",
			[]string{"CONNECT app:8080 HTTP/1.1", "Host: app:8080", "", ""},
			[]int{400}, nil,
		},
		{
			"a tunnel that names a path",
			[]string{"CONNECT /public HTTP/1.1", "Host: app", "", "GET /admin HTTP/1.1", "Host: app", "", ""},
			[]int{400, 401}, nil,
		},
		{
			"an opaque target",
			[]string{"GET app:admin HTTP/1.1", "Host: app", "", ""},
			[]int{400}, nil,
		},
		{
			"a method in small letters",
			[]string{"get /public HTTP/1.1", "Host: app", "", ""},
			[]int{400}, nil,
		},
		{
			"dots that climb out of a public path",
			[]string{"GET /public/../admin HTTP/1.1", "Host: app", "", ""},
			[]int{400}, nil,
		},
		{
			"encoded dots",
			[]string{"GET /public/%2e%2e/admin HTTP/1.1", "Host: app", "", ""},
			[]int{400}, nil,
		},
		{
			"a fragment",
			[]string{"GET /admin#/public HTTP/1.1", "Host: app", "", ""},
			[]int{401}, nil,
		},
		{
			"an upgrade to HTTP/2, with which a caller would talk past us",
			[]string{
				"GET /public HTTP/1.1", "Host: app", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA", "", "",
			},
			[]int{200}, []string{"GET /public"},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			app := &recorder{}
			w.serveApp(app)
			w.mount(w.bundle())
			w.start()
			var statuses []int
			for _, each := range w.raw(test.lines...) {
				statuses = append(statuses, each.Status)
			}
			if diff := cmp.Diff(statuses, test.statuses); diff != "" {
				t.Errorf("got -, want + of the answers:\n%s", diff)
			}
			if diff := cmp.Diff(app.take(), test.asked); diff != "" {
				t.Errorf("got -, want + of what the app was asked:\n%s", diff)
			}
		})
	}
}

func TestUpgradeToHTTP2IsNotOfferedToTheApp(t *testing.T) {
	w := newProtectedApp(t)
	answers := w.raw("GET /public HTTP/1.1", "Host: app", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMA", "", "")
	if len(answers) != 1 {
		t.Fatalf("got %d answers, want 1", len(answers))
	}
	header := answers[0].seen(t).Header
	for _, name := range []string{"Connection", "Upgrade", "Http2-Settings"} {
		if header.Get(name) != "" {
			t.Errorf("got %s: %q at the app, want none", name, header.Get(name))
		}
	}
}
