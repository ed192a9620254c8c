package issuer_test

import (
	"context"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/latchkey-dev/latchkey/internal/bundle"
	"github.com/latchkey-dev/latchkey/internal/revocation"
	"github.com/latchkey-dev/latchkey/sidecar/tokenservice"
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
	slices.Sort(took)
	at := func(share float64) float64 { return took[int(share*float64(len(took)-1))].Seconds() * 1e3 }
	b.ReportMetric(at(.5), "p50-ms")
	b.ReportMetric(at(.99), "p99-ms")
	b.ReportMetric(at(1), "max-ms")
	b.ReportMetric((following-idle)/sidecars/1e3, "kB/sidecar")
}
