package main

import (
	"bytes"
	"context"
	"encoding/json"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"path"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTheAppAnswersWithWhatItWasSent(t *testing.T) {
	for _, test := range []struct {
		name    string
		subject string
		want    string
	}{
		{"greets whom the sidecar names", "alice", "alice"},
		{"greets a stranger when it names nobody", "", "stranger"},
	} {
		t.Run(test.name, func(t *testing.T) {
			request := httptest.NewRequest(http.MethodPut, "/any/path?q=1", nil)
			want := echo{Hello: test.want, Method: "PUT", Path: "/any/path", Headers: http.Header{}}
			if test.subject != "" {
				request.Header.Set("X-Auth-Subject", test.subject)
				want.Headers.Set("X-Auth-Subject", test.subject)
			}
			answer := httptest.NewRecorder()
			handler().ServeHTTP(answer, request)
			var got echo
			if err := json.Unmarshal(answer.Body.Bytes(), &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(got, want); diff != "" {
				t.Errorf("answer (-got +want):\n%s", diff)
			}
		})
	}
}

func TestThePageNeedsNothingButTheAppsOwnFiles(t *testing.T) {
	get := func(path string) *httptest.ResponseRecorder {
		answer := httptest.NewRecorder()
		handler().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, path, nil))
		return answer
	}
	index := get("/public/")
	if got, want := index.Code, http.StatusOK; got != want {
		t.Fatalf("status is %d, want %d", got, want)
	}
	if got := index.Header().Get("Content-Security-Policy"); !strings.HasPrefix(got, "default-src 'self';") || strings.Contains(got, "unsafe") {
		t.Errorf("Content-Security-Policy is %q, want nothing but what comes from here", got)
	}
	pending, loaded := []string{}, map[string]bool{}
	want := func(from string, references [][]string) {
		for _, reference := range references {
			pending = append(pending, path.Join(path.Dir(from), reference[1]))
		}
	}
	want("/public/x", regexp.MustCompile(`(?:src|href)="([^"#]+)"`).FindAllStringSubmatch(index.Body.String(), -1))
	for len(pending) > 0 {
		name := pending[0]
		pending = pending[1:]
		if loaded[name] {
			continue
		}
		loaded[name] = true
		file := get(name)
		if file.Code != http.StatusOK || strings.HasPrefix(file.Header().Get("Content-Type"), "application/json") {
			t.Errorf("%s is needed and not there: %d", name, file.Code)
		}
		if strings.HasSuffix(name, ".js") {
			want(name, regexp.MustCompile(`(?m)^(?:import|export) .* from "([^"]+)";`).FindAllStringSubmatch(file.Body.String(), -1))
		}
	}
	if !loaded["/public/page/latchkey/client.js"] {
		t.Errorf("@latchkey/client is not loaded; only %v", loaded)
	}
	if got, want := get("/public").Header().Get("Content-Type"), "application/json"; got != want {
		t.Errorf("/public is %q, want %q: what the app was sent", got, want)
	}
}

func TestTheAppSaysThatItIsUp(t *testing.T) {
	answer := httptest.NewRecorder()
	handler().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/healthz", nil))
	if got, want := answer.Code, http.StatusNoContent; got != want {
		t.Errorf("status is %d, want %d", got, want)
	}
}

func TestTheAppSaysThatItServesOnlyWhenItDoes(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for _, test := range []struct{ name, address, says string }{
		{"where it can listen", "127.0.0.1:0", "serving on 127.0.0.1:"},
		{"where another does already, as the sidecar on the pod's addresses", taken.Addr().String(), ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			var messages bytes.Buffer
			err := serve(over, test.address, log.New(&messages, "", 0))
			if got, want := err == nil, test.says != ""; got != want {
				t.Errorf("it served: %v, want %v (%v)", got, want, err)
			}
			if got := messages.String(); !strings.HasPrefix(got, test.says) || test.says == "" && got != "" {
				t.Errorf("it says %q, want %q", got, test.says)
			}
		})
	}
}
