package issuer_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey-dev/latchkey/internal/issuer/config"
	"github.com/latchkey-dev/latchkey/internal/issuer/store"
	"github.com/latchkey-dev/latchkey/internal/issuer/store/postgres"
	"github.com/latchkey-dev/latchkey/internal/issuer/store/redis"
	"github.com/latchkey-dev/latchkey/internal/issuer/store/sqlite"
	"github.com/latchkey-dev/latchkey/internal/issuer/store/storetest"
	"github.com/latchkey-dev/latchkey/test/servers"
)

// replacing is a configuration by which each refresh replaces its token.
func replacing() config.Config {
	each := defaults
	each.ReuseWindow = 0
	return each
}

// BenchmarkRefresh is one client's refresh from socket to socket: TLS, HTTP/2, SQLite with fsync, an ES256 signature.
func BenchmarkRefresh(b *testing.B) {
	w := newWorld(b)
	w.writeConfig(replacing())
	w.run()
	token := w.login("alice").refresh()
	b.ReportAllocs()
	for b.Loop() {
		a, err := w.try(w.post("/refresh", token, ""))
		if err != nil || a.status != http.StatusOK {
			b.Fatal(a.status, a.body, err)
		}
		token = a.refresh()
	}
}

// BenchmarkRepeat is a refresh that lost the race: nothing is written.
func BenchmarkRepeat(b *testing.B) {
	w := start(b)
	token := w.login("alice").refresh()
	w.mustRefresh(token)
	b.ReportAllocs()
	for b.Loop() {
		if a, err := w.try(w.post("/refresh", token, "")); err != nil || a.status != http.StatusOK {
			b.Fatal(a.status, a.body, err)
		}
	}
}

// BenchmarkRefreshByMany is several users at once, as a token service sees them.
func BenchmarkRefreshByMany(b *testing.B) {
	w := newWorld(b)
	many := replacing()
	many.MaxSessionsPerUser = 100
	w.writeConfig(many)
	w.run()
	const perProcessor = 8
	tokens := make(chan string, perProcessor*runtime.GOMAXPROCS(0))
	for range cap(tokens) {
		tokens <- w.login("bob").refresh()
	}
	b.ReportAllocs()
	b.SetParallelism(perProcessor)
	b.ResetTimer() // passwords take far longer than refreshes
	b.RunParallel(func(pb *testing.PB) {
		token := <-tokens
		for pb.Next() {
			a, err := w.try(w.post("/refresh", token, ""))
			if err != nil || a.status != http.StatusOK {
				b.Error(a.status, a.body, err)
				return
			}
			token = a.refresh()
		}
	})
}

// BenchmarkRefreshOnEveryStore is what docs/stores.md tells of: a process on one processor, clients and the store on the others.
func BenchmarkRefreshOnEveryStore(b *testing.B) {
	for _, kind := range []string{"SQLite", "PostgreSQL", "Redis"} {
		b.Run(kind, func(b *testing.B) {
			w := newWorld(b)
			many := replacing()
			many.MaxSessionsPerUser = 100
			w.writeConfig(many)
			var size func() float64
			var filled store.Store
			switch kind {
			case "SQLite":
				database, err := sqlite.Open(b.Context(), filepath.Join(w.dir, "data", "sessions.db"))
				if err != nil {
					b.Fatal(err)
				}
				filled = database
				size = func() float64 {
					file, err := os.Stat(filepath.Join(w.dir, "data", "sessions.db"))
					if err != nil {
						b.Fatal(err)
					}
					return float64(file.Size()) / 1e6
				}
			case "PostgreSQL":
				server := servers.StartPostgreSQL(b)
				url := server.Database(b)
				w.store = "postgresql"
				w.write("store", config.StoreURLFile, []byte(url))
				database := postgres.New(postgres.Options{Owner: w.options().Owner, Patience: time.Minute})
				if err := database.Use(url, nil); err != nil {
					b.Fatal(err)
				}
				filled = database
				size = func() float64 { return float64(server.Size(b, url)) / 1e6 }
			case "Redis":
				server := servers.StartRedis(b)
				url := server.Database()
				w.store = "redis"
				w.write("store", config.StoreURLFile, []byte(url))
				database := redis.New(redis.Options{Owner: w.options().Owner, Patience: time.Minute})
				if err := database.Use(url, nil); err != nil {
					b.Fatal(err)
				}
				filled = database
				size = func() float64 { return float64(server.Size(b)) / 1e6 }
			}
			storetest.Fill(b, filled, *storetest.Sessions)
			if err := filled.Close(); err != nil {
				b.Fatal(err)
			}
			w.process()
			for _, clients := range []int{1, 32} {
				b.Run(fmt.Sprintf("%d at once", clients), func(b *testing.B) { refreshAtOnce(b, w, clients, size) })
			}
		})
	}
}

func refreshAtOnce(b *testing.B, w *world, clients int, size func() float64) {
	tokens := make([]string, clients)
	for i := range tokens {
		tokens[i] = w.login("bob").refresh()
	}
	var left atomic.Int64
	left.Store(int64(b.N))
	var wg sync.WaitGroup
	before := w.processor()
	b.ResetTimer()
	for _, token := range tokens {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				a, err := w.try(w.post("/refresh", token, ""))
				if err != nil || a.status != http.StatusOK {
					b.Error(a.status, a.body, err)
					return
				}
				token = a.refresh()
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "refreshes/s")
	b.ReportMetric((w.processor()-before)*1e6/float64(b.N), "service-us/op")
	b.ReportMetric(w.metricValue("process_resident_memory_bytes")/1e6, "service-MB")
	b.ReportMetric(size(), "store-MB")
}

// processor is how many seconds of a processor the token service has used.
func (w *world) processor() float64 { return w.metricValue("process_cpu_seconds_total") }

func (w *world) metricValue(name string) float64 {
	w.t.Helper()
	for line := range strings.Lines(w.metric()) {
		if text, found := strings.CutPrefix(line, name+" "); found {
			value, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
			if err != nil {
				w.t.Fatal(err)
			}
			return value
		}
	}
	w.t.Fatalf("no metric %s", name)
	return 0
}
