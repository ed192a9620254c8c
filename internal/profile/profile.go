// Package profile lets whoever can reach a process's loopback address find out where its time and memory go. It owns what is offered, and how
// much of it at a time; it knows nothing of the process.
//
// What it offers holds names of functions, counts, and sizes. It leaves out what net/http/pprof has beside that: the command line, which may hold
// secrets, and stacks as text, traces and symbols, which `go tool pprof` does without.
package profile

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"runtime/pprof"
	"strconv"
	"sync"
	"time"
)

// Path is below which profiles are, as `go tool pprof` knows it.
const Path = "/debug/pprof/"

const (
	// usualSeconds is how long a CPU profile takes that does not say, and mostSeconds how long one may take.
	usualSeconds, mostSeconds = 20, 60
	// headTimeout is how long a request may take to arrive.
	headTimeout = 5 * time.Second
)

// Forgo is for a process that nobody profiles: it spares it the samples that the runtime else takes of allocations. Call it before anything is allocated
// that matters.
func Forgo() { runtime.MemProfileRate = 0 }

// Check refuses an address that others than this machine, or this pod, could reach.
func Check(address netip.AddrPort) error {
	if !address.Addr().IsLoopback() {
		return fmt.Errorf("must be a loopback address, such as 127.0.0.1: %s could be reached from elsewhere", address.Addr())
	}
	return nil
}

// Serve serves profiles, and nothing else, at a loopback address until ctx is done.
func Serve(ctx context.Context, address netip.AddrPort) error {
	if err := Check(address); err != nil {
		return fmt.Errorf("serve profiles: %w", err)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address.String())
	if err != nil {
		return fmt.Errorf("serve profiles: %w", err)
	}
	server := &http.Server{Handler: Handler(), ReadHeaderTimeout: headTimeout, MaxHeaderBytes: 8 << 10}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve profiles: %w", err)
	}
	return nil
}

// Handler serves what is below Path: profile (of CPU time, for ?seconds), heap, allocs and goroutine, one at a time.
func Handler() http.Handler {
	p := &profiles{}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+Path+"profile", p.cpu)
	for _, name := range []string{"heap", "allocs", "goroutine"} {
		mux.HandleFunc("GET "+Path+name, func(w http.ResponseWriter, _ *http.Request) { p.snapshot(w, name) })
	}
	return mux
}

// profiles makes one at a time.
type profiles struct{ making sync.Mutex }

func (p *profiles) cpu(w http.ResponseWriter, r *http.Request) {
	seconds := usualSeconds
	if text := r.FormValue("seconds"); text != "" {
		var err error
		if seconds, err = strconv.Atoi(text); err != nil || seconds < 1 || seconds > mostSeconds {
			http.Error(w, fmt.Sprintf("seconds: must be a whole number from 1 to %d", mostSeconds), http.StatusBadRequest)
			return
		}
	}
	if !p.begin(w) {
		return
	}
	defer p.making.Unlock()
	over := time.NewTimer(time.Duration(seconds) * time.Second)
	defer over.Stop()
	// The answer comes at the end, which may be later than a server allows for.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add((mostSeconds + 30) * time.Second)) // fails where there is no limit to move
	if err := pprof.StartCPUProfile(w); err != nil {
		http.Error(w, "somebody else makes a profile of this process", http.StatusTooManyRequests)
		return
	}
	defer pprof.StopCPUProfile()
	select {
	case <-over.C:
	case <-r.Context().Done():
	}
}

func (p *profiles) snapshot(w http.ResponseWriter, name string) {
	if !p.begin(w) {
		return
	}
	defer p.making.Unlock()
	_ = pprof.Lookup(name).WriteTo(w, 0) // who has hung up needs no answer
}

// begin says whether it is the caller's turn, and answers the others.
func (p *profiles) begin(w http.ResponseWriter) bool {
	if !p.making.TryLock() {
		http.Error(w, "a profile is being made already: one at a time", http.StatusTooManyRequests)
		return false
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	return true
}
