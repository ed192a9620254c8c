package issuer_test

import (
	"net/http"
	"runtime"
	"testing"
)

// BenchmarkRefresh is one client's refresh from socket to socket: TLS, HTTP/2, SQLite with fsync, an ES256 signature.
func BenchmarkRefresh(b *testing.B) {
	w := start(b)
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
	many := defaults
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
