package sidecar

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/latchkey-dev/latchkey/internal/profile"
)

// applied is what the manager asks for to learn whether a change has reached this pod.
type applied struct {
	Volumes     map[string]volumeState `json:"volumes"`     // by the volume's name in the pod
	KeyIDs      []string               `json:"keyIDs"`      // that tokens are verified with
	Revocations map[string]int64       `json:"revocations"` // number of the last one applied, by issuer
}

// adminHandler answers on the pod's addresses: whoever reaches the pod may see it, so it tells of no request and no caller.
func (s *sidecar) adminHandler() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		writeText(w, http.StatusOK, "listening") // all ports were bound before this one was served
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		switch {
		case s.leaving.begun.Load():
			writeText(w, http.StatusServiceUnavailable, "draining")
		case s.current.Load() == nil:
			writeText(w, http.StatusServiceUnavailable, "no bundle applied: "+s.bundle.get().Error)
		default:
			if missing := s.stillMissing(); len(missing) > 0 {
				writeText(w, http.StatusServiceUnavailable, "waiting for the revocations of "+strings.Join(missing, ", "))
				return
			}
			if !s.appAnswers(r.Context()) {
				writeText(w, http.StatusServiceUnavailable, "the app listens on none of its ports yet")
				return
			}
			writeText(w, http.StatusOK, "bundle applied, and the app listens")
		}
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /applied", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, s.appliedNow()) })
	return mux
}

// loopbackHandler answers inside the pod alone. It also tells of callers, and of the process where that is asked for.
func (s *sidecar) loopbackHandler(profiles bool) http.Handler {
	mux := s.adminHandler()
	if profiles {
		mux.Handle(profile.Path, profile.Handler())
	}
	mux.HandleFunc("GET /decisions", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, s.decisions.recent()) })
	return mux
}

// appAnswers asks whether the app takes connections. One port is enough: a policy may list ports of several apps.
func (s *sidecar) appAnswers(ctx context.Context) bool {
	for _, port := range s.ports {
		connection, err := s.app.DialContext(ctx, "tcp", net.JoinHostPort("", strconv.Itoa(int(port.App))))
		if err == nil {
			_ = connection.Close()
			return true
		}
	}
	return false
}

func (s *sidecar) appliedNow() applied {
	now := applied{
		Volumes: map[string]volumeState{bundleVolume: s.bundle.get()}, KeyIDs: []string{}, Revocations: map[string]int64{},
	}
	if current := s.current.Load(); current != nil {
		now.KeyIDs = current.gate.KeyIDs()
	}
	for _, stream := range s.follower.State() {
		now.Revocations[stream.Issuer] = stream.Number
	}
	return now
}

func writeText(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text + "\n")) // who has hung up needs no answer
}

func writeJSON(w http.ResponseWriter, value any) {
	body, err := json.MarshalIndent(value, "", "  ")
	if err != nil { // what is shown here are strings, numbers and times
		panic(err)
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(body, '\n'))
}
