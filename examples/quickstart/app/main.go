// Command app is what the quickstart protects: a server that knows nothing of tokens, and answers every request with what it was sent. It also
// has a page for browsers, which shows what goes on.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	// 127.0.0.1, so that nobody reaches the app but the sidecar beside it.
	listen := flag.String("listen", "127.0.0.1:8080", "`address` to serve on")
	flag.Parse()
	ctx, _ := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt) // until the process ends
	if err := serve(ctx, *listen, log.Default()); err != nil {
		log.Fatal(err)
	}
}

// serve answers requests until ctx ends, and finishes those that it has begun.
func serve(ctx context.Context, address string, messages *log.Logger) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	messages.Printf("serving on %s", listener.Addr())
	server := &http.Server{Handler: handler(), ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan error, 1)
	go func() {
		<-ctx.Done()
		finish, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		ended <- server.Shutdown(finish)
	}()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-ended
}

// echo is a request as the app sees it.
type echo struct {
	Hello   string      `json:"hello"` // whom the sidecar says it is
	Method  string      `json:"method"`
	Path    string      `json:"path"`
	Headers http.Header `json:"headers"`
}

func handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.Handle("GET /public/{$}", page("/public"))
	mux.Handle("GET /public/page/", page("/public/page"))
	mux.HandleFunc("/public", answer) // which would be sent to /public/ otherwise
	mux.HandleFunc("/", answer)
	return mux
}

func answer(w http.ResponseWriter, r *http.Request) {
	hello := r.Header.Get("X-Auth-Subject")
	if hello == "" {
		hello = "stranger"
	}
	body, err := json.MarshalIndent(echo{hello, r.Method, r.URL.Path, r.Header}, "", "  ")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(body, '\n')) // who has hung up needs no answer
}
