package issuer

import (
	"encoding/json"
	"net/http"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// applied is what the manager asks for to learn whether a change has reached this pod.
type applied struct {
	Volumes map[string]volumeState `json:"volumes"` // by the volume's name in the pod
	KeyIDs  []string               `json:"keyIDs"`  // of the ring in force
}

// adminRoutes answers on the admin port. Whoever reaches the pod may see it, so it tells of no user and no session.
func adminRoutes(m *materials, volumes []*volume, j *journal, c *clock, metrics *metrics) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		writeText(w, http.StatusOK, "listening") // all ports were bound before this one was served
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if missing := m.load().missing(); missing != "" {
			writeText(w, http.StatusServiceUnavailable, missing+": nothing applied; /applied says why")
			return
		}
		if j.since(0).err != nil { // which may name the database and its user
			writeText(w, http.StatusServiceUnavailable, "the session store is not available; the log says why")
			return
		}
		if err := c.fault(); err != nil {
			writeText(w, http.StatusServiceUnavailable, err.Error())
			return
		}
		writeText(w, http.StatusOK, "ready")
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /applied", func(w http.ResponseWriter, _ *http.Request) {
		now := applied{Volumes: map[string]volumeState{}, KeyIDs: []string{}}
		for _, v := range volumes {
			now.Volumes[v.name] = v.current()
		}
		if keys := m.load().keys; keys != nil {
			now.KeyIDs = keys.ids
		}
		body, err := json.MarshalIndent(now, "", "  ")
		if err != nil { // strings
			panic(err)
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(append(body, '\n'))
	})
	return mux
}

func writeText(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text + "\n"))
}
