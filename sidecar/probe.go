package sidecar

import (
	"context"
	"crypto/subtle"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/latchkey-dev/latchkey/internal/probe"
)

// probes answers the kubelet's probes and hooks of the app: the webhook has pointed them here, because on the app's own port they would be
// refused for want of a token. Each asks the app one fixed question and passes on the status alone: whoever can reach this port learns what a
// kubelet learns, and can make the app do nothing else. Hooks make it do something, so they are for those who know the pod's secret.
type probes struct {
	targets map[ProbeKey]probe.Target
	app     appDialer
	secret  string
	leave   func() // the pod's deletion has begun
	client  *http.Client
	grpc    *http.Client
}

// probeAgent is as much like the kubelet's User-Agent as can be said without passing on what anybody may have sent.
const probeAgent = "kube-probe/latchkey"

// probeLimit only bounds what a prober that never hangs up can hold; the kubelet hangs up at the probe's own timeoutSeconds.
const probeLimit = time.Minute

func newProbes(config Config, app appDialer, leave func()) *probes {
	client := func(protocols *http.Protocols) *http.Client {
		return &http.Client{
			Timeout: probeLimit,
			// The kubelet's own probes open a connection each time as well: one that is kept alive would find a dead listener healthy.
			Transport: &http.Transport{
				DialContext: app.DialContext, DisableKeepAlives: true, DisableCompression: true, Protocols: protocols,
				// As the kubelet has it, which knows no authority for the app's certificate: nothing is said to the app but what stands in the pod,
				// and of its answer the status alone is passed on.
				TLSClientConfig: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}, //nolint:gosec // see above
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	var http1, http2 http.Protocols
	http1.SetHTTP1(true)
	http1.SetHTTP2(true) // over TLS, where the app offers it
	http2.SetUnencryptedHTTP2(true)
	return &probes{
		targets: config.Probes, app: app, secret: config.Secret, leave: leave, client: client(&http1), grpc: client(&http2),
	}
}

func (p *probes) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{container}/{kind}", func(w http.ResponseWriter, r *http.Request) {
		if !slices.Contains(probe.Kinds, r.PathValue("kind")) {
			http.NotFound(w, r)
			return
		}
		p.answer(w, r)
	})
	mux.HandleFunc("GET /{container}/{kind}/{secret}", func(w http.ResponseWriter, r *http.Request) {
		switch given := r.PathValue("secret"); {
		case p.secret == "", subtle.ConstantTimeCompare([]byte(given), []byte(p.secret)) != 1, !slices.Contains(probe.Hooks, r.PathValue("kind")):
			http.NotFound(w, r)
		case r.PathValue("container") == probe.Sidecar && r.PathValue("kind") == "preStop":
			p.leave()
		default:
			p.answer(w, r)
		}
	})
	return mux
}

func (p *probes) answer(w http.ResponseWriter, r *http.Request) {
	target, known := p.targets[ProbeKey{r.PathValue("container"), r.PathValue("kind")}]
	if !known {
		http.Error(w, "no such probe", http.StatusNotFound)
		return
	}
	status, err := p.ask(r, target)
	if r.PathValue("kind") == "postStart" {
		status, err = p.askAgain(r, target, status, err)
	}
	if err != nil && slices.Contains(probe.Hooks, r.PathValue("kind")) {
		panic(http.ErrAbortHandler) // of a hook the kubelet reads no status: only one that nobody answers has failed
	}
	if err != nil {
		http.Error(w, "the app does not answer", http.StatusBadGateway)
		return
	}
	w.WriteHeader(status)
}

// askAgain asks until somebody listens, for as long as a prober may take: a kubelet calls postStart once, as soon as the app's process is there.
func (p *probes) askAgain(r *http.Request, target probe.Target, status int, err error) (int, error) {
	pace := time.NewTicker(50 * time.Millisecond)
	defer pace.Stop()
	for end := time.After(probeLimit); nobodyListens(err); {
		select {
		case <-r.Context().Done():
			return 0, r.Context().Err()
		case <-end:
			return 0, err
		case <-pace.C:
			status, err = p.ask(r, target)
		}
	}
	return status, err
}

func (p *probes) ask(r *http.Request, target probe.Target) (int, error) {
	address := net.JoinHostPort(p.app.hosts[0].String(), strconv.Itoa(int(target.Port)))
	switch target.Protocol {
	case probe.TCP:
		ctx, cancel := context.WithTimeout(r.Context(), probeLimit)
		defer cancel()
		connection, err := p.app.DialContext(ctx, "tcp", address)
		if err != nil {
			return 0, err
		}
		_ = connection.Close()
		return http.StatusOK, nil
	case probe.GRPC:
		serving, err := checkHealth(r.Context(), p.grpc, address, target.Service)
		if err != nil || serving {
			return http.StatusOK, err
		}
		return http.StatusServiceUnavailable, nil
	case probe.HTTP, probe.HTTPS:
		return p.get(r, address, target)
	}
	return 0, errors.New("no such protocol") // which --probe does not admit
}

func (p *probes) get(r *http.Request, address string, target probe.Target) (int, error) {
	u, err := url.ParseRequestURI(target.Path)
	if err != nil {
		return 0, err
	}
	u.Scheme, u.Host = string(target.Protocol), address
	request, err := http.NewRequestWithContext(r.Context(), http.MethodGet, u.String(), nil)
	if err != nil {
		return 0, err
	}
	var host string
	if request.Header, host = target.Header(); host != "" {
		request.Host = host
	} else if local, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr); ok {
		// Apps that check the Host header know the pod's address and their own port from the kubelet.
		request.Host = net.JoinHostPort(local.IP.String(), strconv.Itoa(int(target.Port)))
	}
	for name, value := range map[string]string{"User-Agent": probeAgent, "Accept": "*/*"} {
		if request.Header[name] == nil {
			request.Header.Set(name, value)
		}
	}
	response, err := p.client.Do(request)
	if err != nil {
		return 0, err
	}
	_ = response.Body.Close() // unread: the connection is not used again
	return response.StatusCode, nil
}
