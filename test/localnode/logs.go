package localnode

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"k8s.io/client-go/util/cert"
)

// server is what this node plays of a kubelet's own API: what `kubectl logs` asks for, with its options -f and --tail, and `kubectl port-forward`. It
// listens where kubelets do. The API server checks no certificate of a kubelet unless it is told to.
func (k *kubelet) server(node netip.Addr) (*http.Server, error) {
	certificate, key, err := cert.GenerateSelfSignedCertKey(node.String(), nil, nil)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", func(w http.ResponseWriter, r *http.Request) {
		name := filepath.Join(k.logs, filepath.Base(r.PathValue("namespace")), filepath.Base(r.PathValue("pod")), filepath.Base(r.PathValue("container"))+".log")
		if err := sendLog(r.Context(), w, name, r.FormValue("tailLines"), r.FormValue("follow") == "true"); err != nil {
			k.log.Info("logs", "file", name, "error", err)
			http.Error(w, "no log of this container", http.StatusNotFound)
		}
	})
	mux.HandleFunc("/portForward/{namespace}/{pod}", k.forwardPort)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "of a kubelet's API only logs and port-forward are played by this node", http.StatusNotImplemented)
	})
	return &http.Server{
		Handler:   mux,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12},
		ErrorLog:  slog.NewLogLogger(k.log.Handler(), slog.LevelDebug),
	}, nil
}

// sendLog sends a file, or its last lines, and with follow also what is added to it until ctx ends.
func sendLog(ctx context.Context, w http.ResponseWriter, name, tail string, follow bool) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // it was read only
	text, err := io.ReadAll(file)
	if err != nil {
		return err
	}
	if lines, err := strconv.Atoi(tail); err == nil {
		text = lastLines(text, lines)
	}
	if _, err := w.Write(text); err != nil || !follow {
		return nil // the caller has hung up
	}
	out := http.NewResponseController(w)
	ticker := time.NewTicker(retryPeriod / 2)
	defer ticker.Stop()
	for {
		_ = out.Flush()
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		if _, err := io.Copy(w, file); err != nil {
			return nil
		}
	}
}

func lastLines(text []byte, n int) []byte {
	end := len(bytes.TrimRight(text, "\n"))
	for i := end - 1; i >= 0; i-- {
		if text[i] == '\n' {
			if n--; n == 0 {
				return text[i+1:]
			}
		}
	}
	if n <= 0 {
		return nil
	}
	return text
}
