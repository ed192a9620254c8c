// Command anyapp is an app for the end-to-end tests that is whatever its flags say: one that ends, that listens where it should not, that is asked after by
// gRPC, and that says in its log which hooks reached it.
package main

import (
	"context"
	"flag"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8080", "`address` to serve HTTP on")
	listenGRPC := flag.String("listen-grpc", "", "`address` to serve gRPC's health service on; none by default")
	end := flag.Duration("end", 0, "how long to work until the work is done; 0 is forever")
	flag.Parse()
	ctx, _ := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt) // until the process ends
	if *end > 0 {
		time.AfterFunc(*end, func() { os.Exit(0) })
	}

	state := health.NewServer()
	if *listenGRPC != "" {
		listener, err := net.Listen("tcp", *listenGRPC)
		if err != nil {
			log.Fatal(err)
		}
		server := grpc.NewServer()
		grpc_health_v1.RegisterHealthServer(server, state)
		go func() { log.Fatal(server.Serve(listener)) }()
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /break", func(http.ResponseWriter, *http.Request) {
		state.SetServingStatus("", grpc_health_v1.HealthCheckResponse_NOT_SERVING)
	})
	mux.HandleFunc("GET /", func(_ http.ResponseWriter, r *http.Request) {
		log.Printf("%s of %s with %q", r.URL.Path, r.Host, r.Header.Get("X-Key"))
	})
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() { log.Fatal(server.Serve(listener)) }()
	<-ctx.Done()
}
