package storetest

import (
	"context"
	"flag"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey-dev/latchkey/internal/issuer/store"
	"github.com/latchkey-dev/latchkey/internal/issuer/store/storetest/bare"
)

// Sessions is how many sessions benchmarks find in a store, beside their own.
var Sessions = flag.Int("sessions", 0, "how many `sessions` a store holds when it is measured")

// Fill signs in so many users on two devices each, as they would.
func Fill(tb testing.TB, s store.Store, sessions int) {
	tb.Helper()
	const workers = 32
	var next atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(sessions); i = next.Add(1) {
				n := session(fmt.Sprintf("somebody-%d@shop.example.com", i/2), time.Now())
				n.Device = store.Device{Address: "2001:db8:85a3::8a2e:370:7334",
					UserAgent: "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"}
				if _, err := s.Create(context.Background(), n, store.Limit{Sessions: 5}, store.Horizon{}); err != nil {
					tb.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// RunBenchmarks measures a store beside the bare update, by one client and by 32, each way in turn and three times over: machines are shared.
func RunBenchmarks(b *testing.B, s store.Store, bareUpdate bare.Update) {
	Fill(b, s, *Sessions)
	ways := []struct {
		name string
		do   func(id store.SessionID, counter int64) error
	}{
		{"bare update", bareUpdate},
		{"rotate", func(id store.SessionID, counter int64) error {
			ok, err := s.Rotate(b.Context(), id, counter, to(start, start))
			if err == nil && !ok {
				err = fmt.Errorf("lost at %d", counter)
			}
			return err
		}},
		{"find and rotate", func(id store.SessionID, counter int64) error {
			if _, err := s.Find(b.Context(), id); err != nil {
				return err
			}
			_, err := s.Rotate(b.Context(), id, counter, to(start, start))
			return err
		}},
	}
	for _, clients := range []int{1, 32} {
		for range 3 {
			for _, way := range ways {
				b.Run(fmt.Sprintf("%s, %d at once", way.name, clients), func(b *testing.B) { atOnce(b, s, clients, way.do) })
			}
		}
	}
}

// atOnce lets clients rotate a session each.
func atOnce(b *testing.B, s store.Store, clients int, do func(id store.SessionID, counter int64) error) {
	var wg sync.WaitGroup
	var left atomic.Int64
	left.Store(int64(b.N))
	ids := make([]store.SessionID, clients)
	for i := range ids {
		n := session(fmt.Sprintf("measured %d", i), time.Now())
		if _, err := s.Create(b.Context(), n, store.Limit{Sessions: 5}, store.Horizon{}); err != nil {
			b.Fatal(err)
		}
		ids[i] = n.ID
	}
	b.ReportAllocs()
	b.ResetTimer()
	for _, id := range ids {
		wg.Go(func() {
			for counter := int64(1); left.Add(-1) >= 0; counter++ {
				if err := do(id, counter); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "op/s")
}
