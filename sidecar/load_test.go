package sidecar_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/latchkey-dev/latchkey/internal/bundle"
)

// load is callers who ask without a pause, each over connections of its own.
type load struct {
	requests atomic.Int64
	faults   chan error
	stop     context.CancelFunc
	running  sync.WaitGroup
}

// newLoad begins with some callers of each protocol. A refused connection ends a caller: the pod has gone, and somebody else serves.
func (w *world) newLoad(callers int) *load {
	ctx, stop := context.WithCancel(context.Background())
	l := &load{faults: make(chan error, 1000), stop: stop}
	token := w.token("alice", nil)
	for i := range 2 * callers {
		transport := &http.Transport{Protocols: new(http.Protocols), MaxIdleConnsPerHost: 4}
		if i%2 == 0 {
			transport.Protocols.SetHTTP1(true)
		} else {
			transport.Protocols.SetUnencryptedHTTP2(true)
		}
		l.running.Go(func() {
			defer transport.CloseIdleConnections()
			for ctx.Err() == nil {
				err := l.ask(w, transport, token)
				if errors.Is(err, syscall.ECONNREFUSED) {
					return
				}
				if err != nil {
					l.faults <- fmt.Errorf("caller %d: %w", i, err)
					return
				}
				l.requests.Add(1)
			}
		})
	}
	return l
}

func (l *load) ask(w *world, transport *http.Transport, token string) error {
	request, err := http.NewRequest("POST", "http://"+w.podIP+":"+port+"/orders", strings.NewReader("an order"))
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := transport.RoundTrip(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && (response.StatusCode != 200 || !strings.Contains(string(body), "an order")) {
		err = fmt.Errorf("got %d %.100q", response.StatusCode, body)
	}
	return err
}

// end stops all callers and reports their faults.
func (l *load) end(t *testing.T) {
	t.Helper()
	l.stop()
	l.running.Wait()
	close(l.faults)
	for fault := range l.faults {
		t.Error(fault)
	}
	if l.requests.Load() == 0 {
		t.Error("got no request through: the test shows nothing")
	}
}

func TestHundredReloadsUnderLoadBreakNothing(t *testing.T) {
	w := newWorld(t)
	w.serveApp(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			echo(rw, r)
			return
		}
		endless(rw, r)
	}))
	w.mount(w.bundle())
	w.start()
	var ends []func() bool
	for _, lasting := range lastings()[:3] { // those but the upload
		ends = append(ends, lasting.open(w, "/lasts", w.token("alice", nil)))
	}
	l := w.newLoad(2)
	for i := range 100 {
		b := w.bundle(w.key, newKey(t, "ES256"))
		b.Limits = bundle.Limits{MaxStreamsPerConnection: int32(100 + i%7)}
		b.Upstream.ConnectTimeout = time.Duration(1000+i%3) * time.Millisecond
		hash := w.mount(b)
		if i%10 == 9 {
			w.waitApplied(hash)
		}
		if i%25 == 24 {
			w.mountFiles(map[string][]byte{bundle.FileName: []byte(`{"version":1,`)})
		}
	}
	w.waitApplied(w.mount(w.bundle()))
	l.end(t)
	if got := w.metric("latchkey_sidecar_requests_in_flight"); got != "3" {
		t.Errorf("got %s requests in flight, want the three that last", got)
	}
	t.Logf("%d requests", l.requests.Load())
	b := w.bundle(newKey(t, "ES256")) // lets them end
	w.mount(b)
	for _, ended := range ends {
		ended()
	}
}

func TestDrainUnderLoadLosesNoRequest(t *testing.T) {
	for range 3 {
		w := newWorld(t)
		w.serveApp(http.HandlerFunc(echo))
		w.mount(w.bundle())
		w.start()
		l := w.newLoad(4)
		w.eventually("the load is there", func() bool { return l.requests.Load() > 200 })
		check(t, w.stop())
		l.end(t)
		t.Logf("%d requests", l.requests.Load())
	}
}
