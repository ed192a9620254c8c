package issuer_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/latchkey-dev/latchkey/internal/bundle"
	"github.com/latchkey-dev/latchkey/internal/revocation"
	"github.com/latchkey-dev/latchkey/sidecar/tokenservice"
	"github.com/latchkey-dev/latchkey/test/servers"
)

// BenchmarkLogoutReachesAThousandSidecars is what docs/stores.md tells of: from the moment when a client sends a logout to the moment when a sidecar
// refuses its access token. The token service is a process of its own, on one processor; the sidecars are those parts of real ones that follow it, each with
// a connection of its own, and all share what is left of the machine.
func BenchmarkLogoutReachesAThousandSidecars(b *testing.B) {
	const sidecars = 1000
	w := newWorld(b)
	w.process()
	authority, err := os.ReadFile(filepath.Join(w.dir, "tls", "tls.crt"))
	if err != nil {
		b.Fatal(err)
	}
	service := bundle.TokenService{URL: "https://issuer.test", Address: w.address, CA: string(authority), Token: w.sidecar}
	idle := w.metricValue("process_resident_memory_bytes")

	ctx, stop := context.WithCancel(b.Context())
	defer stop()
	sets := make([]*revocation.Set, sidecars)
	for i := range sets {
		dir := filepath.Join(w.dir, "sidecars", strconv.Itoa(i))
		if err := os.MkdirAll(dir, 0o700); err != nil {
			b.Fatal(err)
		}
		follower, err := tokenservice.NewFollower(dir, slog.New(slog.DiscardHandler))
		if err != nil {
			b.Fatal(err)
		}
		plan, err := follower.Prepare(map[string]bundle.TokenService{defaults.Issuer: service})
		if err != nil {
			b.Fatal(err)
		}
		plan.Start(ctx)
		defer follower.Wait()
		defer stop()
		sets[i] = plan.Sets()[defaults.Issuer]
	}
	w.eventually("all sidecars follow", func() bool {
		return !slices.ContainsFunc(sets, func(s *revocation.Set) bool { return s.Confirmed().IsZero() })
	})
	following := w.metricValue("process_resident_memory_bytes")

	look := time.NewTicker(time.Millisecond) // leaves the processor to those who are measured
	defer look.Stop()
	var took []time.Duration
	for b.Loop() {
		session := w.login("alice")
		hash, expires := revocation.SessionHash(defaults.Issuer, w.sid(session)), time.Now().Add(time.Hour)
		request := w.post("/logout", session.refresh(), "")
		sent := time.Now()
		go func() {
			if a, err := w.try(request); err != nil || a.status != http.StatusNoContent {
				b.Error(a.status, err)
			}
		}()
		waiting := slices.Clone(sets)
		for len(waiting) > 0 {
			waiting = slices.DeleteFunc(waiting, func(s *revocation.Set) bool {
				if !s.Revoked(hash, expires) {
					return false
				}
				took = append(took, time.Since(sent))
				return true
			})
			<-look.C
		}
	}
	reportTimes(b, took)
	b.ReportMetric((following-idle)/sidecars/1e3, "kB/sidecar")
}

func reportTimes(b *testing.B, took []time.Duration) {
	slices.Sort(took)
	at := func(share float64) float64 { return took[int(share*float64(len(took)-1))].Seconds() * 1e3 }
	b.ReportMetric(at(.5), "p50-ms")
	b.ReportMetric(at(.99), "p99-ms")
	b.ReportMetric(at(1), "max-ms")
}

// BenchmarkLogoutReachesTenThousandSidecars is the same with as many as one replica has no room for: three, on one PostgreSQL, each with its part of them. Of a
// sidecar there is here what its token service sees: a connection over which somebody reads the stream into a set.
func BenchmarkLogoutReachesTenThousandSidecars(b *testing.B) {
	const sidecars = 10_000
	replica := replicas(b, "postgresql", servers.StartPostgreSQL(b).Database(b))
	all := []*world{replica(), replica(), replica()}
	var idle, following, busy float64
	for _, w := range all {
		w.process()
		idle += w.metricValue("process_resident_memory_bytes")
	}
	heard := make(chan time.Time, sidecars)
	var connecting, reading sync.WaitGroup
	connections := make([]net.Conn, sidecars)
	defer func() {
		for _, each := range connections {
			if each != nil {
				_ = each.Close()
			}
		}
		reading.Wait()
	}()
	for part := range 32 {
		connecting.Go(func() {
			for i := part; i < sidecars; i += 32 {
				connection, in, err := all[i%len(all)].stream()
				if err != nil {
					b.Error(err)
					return
				}
				connections[i] = connection
				set, events := revocation.NewSet(0), revocation.NewReader(in)
				follow := func(until revocation.EventKind) error {
					for {
						event, err := events.Next()
						if err == nil && event.Kind == revocation.EventRevoke {
							err = set.Apply(event.Entry, time.Now())
						}
						if err != nil || event.Kind == until {
							return err
						}
					}
				}
				if err := follow(revocation.EventReady); err != nil {
					b.Error(err)
					return
				}
				reading.Go(func() {
					for {
						if follow(revocation.EventRevoke) != nil {
							return // the benchmark is over
						}
						heard <- time.Now()
					}
				})
			}
		})
	}
	connecting.Wait()
	if b.Failed() {
		return
	}
	for _, w := range all {
		following += w.metricValue("process_resident_memory_bytes")
		busy -= w.processor()
	}
	var took []time.Duration
	for b.Loop() {
		session := all[0].login("alice")
		request := all[0].post("/logout", session.refresh(), "")
		sent := time.Now()
		if a, err := all[0].try(request); err != nil || a.status != http.StatusNoContent {
			b.Fatal(a.status, err)
		}
		for range sidecars {
			took = append(took, (<-heard).Sub(sent))
		}
	}
	for _, w := range all {
		busy += w.processor()
	}
	reportTimes(b, took)
	b.ReportMetric((following-idle)/sidecars/1e3, "kB/sidecar")
	b.ReportMetric(busy*1e6/float64(len(took)), "service-us/entry")
}

// stream connects as a sidecar does, and returns the body of the answer.
func (w *world) stream() (net.Conn, io.Reader, error) {
	connection, err := tls.Dial("tcp", w.address, &tls.Config{RootCAs: w.roots})
	if err != nil {
		return nil, nil, err
	}
	request := w.asSidecar(w.get("/revocations"))
	if err = request.Write(connection); err != nil {
		return nil, nil, err
	}
	response, err := http.ReadResponse(bufio.NewReader(connection), request)
	if err == nil && response.StatusCode != http.StatusOK {
		err = errors.New(response.Status)
	}
	if err != nil {
		return nil, nil, err
	}
	return connection, response.Body, nil
}
