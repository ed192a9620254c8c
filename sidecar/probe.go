package sidecar

import (
	"net"
	"net/http"
	"net/url"
	"time"
)

// probes answers the kubelet's probes of the app: the webhook has pointed them here, because on the app's own port they would be
// refused for want of a token. Each asks the app one fixed URL and passes on the status alone: whoever can reach this port learns what a
// kubelet learns, and can make the app do nothing else.
type probes struct {
	targets map[ProbeKey]*url.URL
	client  *http.Client
}

// probeLimit only bounds what a prober that never hangs up can hold; the kubelet hangs up at the probe's own timeoutSeconds.
const probeLimit = time.Minute

func newProbes(targets map[ProbeKey]*url.URL) *probes {
	return &probes{targets: targets, client: &http.Client{
		Timeout: probeLimit,
		// The kubelet's own probes open a connection each time as well: one that is kept alive would find a dead listener healthy.
		Transport:     &http.Transport{DisableKeepAlives: true, DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func (p *probes) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{container}/{kind}", func(w http.ResponseWriter, r *http.Request) {
		target, known := p.targets[ProbeKey{r.PathValue("container"), r.PathValue("kind")}]
		if !known {
			http.Error(w, "no such probe", http.StatusNotFound)
			return
		}
		status, err := p.ask(r, target)
		if err != nil {
			http.Error(w, "the app does not answer", http.StatusBadGateway)
			return
		}
		w.WriteHeader(status)
	})
	return mux
}

func (p *probes) ask(r *http.Request, target *url.URL) (int, error) {
	request, err := http.NewRequestWithContext(r.Context(), http.MethodGet, target.String(), nil)
	if err != nil {
		return 0, err
	}
	// Apps that check the Host header know the pod's address and their own port from the kubelet.
	if local, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr); ok {
		request.Host = net.JoinHostPort(local.IP.String(), target.Port())
	}
	request.Header.Set("User-Agent", r.UserAgent())
	request.Header.Set("Accept", "*/*")
	response, err := p.client.Do(request)
	if err != nil {
		return 0, err
	}
	_ = response.Body.Close() // unread: the connection is not used again
	return response.StatusCode, nil
}
