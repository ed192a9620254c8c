package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
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

func TestTheAppSaysThatItIsUp(t *testing.T) {
	answer := httptest.NewRecorder()
	handler().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/healthz", nil))
	if got, want := answer.Code, http.StatusNoContent; got != want {
		t.Errorf("status is %d, want %d", got, want)
	}
}
