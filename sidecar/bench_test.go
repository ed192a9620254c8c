package sidecar_test

import (
	"io"
	"net/http"
	"testing"
)

// A whole round from a caller over the sidecar to the app and back, over loopback sockets. What the gate takes of it is in its package.
func BenchmarkRoundTrip(b *testing.B) {
	w := newWorld(b)
	w.serveApp(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(rw, "hello") }))
	w.mount(w.bundle())
	w.start("--log-level=error")
	token := w.token("alice", nil)
	b.ReportAllocs()
	for _, address := range []struct{ name, host string }{{"to the app", w.appIP}, {"over the sidecar", w.podIP}} {
		b.Run(address.name, func(b *testing.B) {
			request, err := http.NewRequest("GET", "http://"+address.host+":"+port+"/orders/1", nil)
			check(b, err)
			request.Header.Set("Authorization", "Bearer "+token)
			for b.Loop() {
				response, err := w.client.Do(request)
				check(b, err)
				_, _ = io.Copy(io.Discard, response.Body)
				response.Body.Close()
			}
		})
	}
}
