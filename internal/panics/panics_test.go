package panics_test

import (
	"bytes"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/latchkey-dev/latchkey/internal/panics"
)

func TestHeard(t *testing.T) {
	for _, tc := range []struct {
		name  string
		cause any
		want  string // in the log; empty: nothing is logged
	}{
		{"a panic is logged with its stack", errors.New("index out of range"), "index out of range"},
		{"ending a connection on purpose is not", http.ErrAbortHandler, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var log bytes.Buffer
			handler := panics.Heard(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(tc.cause) }),
				slog.New(slog.NewTextHandler(&log, nil)))
			server := httptest.NewUnstartedServer(handler)
			server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
			server.Start()
			defer server.Close()

			if answer, err := http.Get(server.URL); err == nil {
				answer.Body.Close()
				t.Errorf("got %s, want the connection ended", answer.Status)
			}
			server.Close() // after it the handler has returned
			switch got := log.String(); {
			case tc.want == "" && got != "":
				t.Errorf("got %q in the log, want nothing", got)
			case !strings.Contains(got, tc.want) || tc.want != "" && !strings.Contains(got, "panics_test.go"):
				t.Errorf("got %q in the log, want %q and the stack", got, tc.want)
			}
		})
	}
}
