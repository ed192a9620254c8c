package issuer_test

import (
	"net/http"
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
	w := start(b)
	b.ReportAllocs()
	b.SetParallelism(8)
	b.RunParallel(func(pb *testing.PB) {
		token := w.login("bob").refresh()
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
