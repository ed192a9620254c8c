package issuer_test

import (
	"bytes"
	"crypto/tls"
	"io"
	"net/http"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// framed is a connection of which a client says and hears every frame of HTTP/2.
type framed struct {
	*http2.Framer
	t *testing.T
}

func (w *world) framed(t *testing.T) framed {
	t.Helper()
	connection, err := tls.Dial("tcp", w.address, &tls.Config{RootCAs: w.roots, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = connection.Close() })
	if err := connection.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	c := framed{http2.NewFramer(connection, connection), t}
	c.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if _, err := io.WriteString(connection, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	if err := c.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	return c
}

// begin sends the headers of a sign-in whose body does not come.
func (c framed) begin(stream uint32) {
	c.t.Helper()
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	encoder.SetMaxDynamicTableSize(0) // each block stands alone
	for _, field := range [][2]string{{":method", http.MethodPost}, {":scheme", "https"}, {":authority", "shop.example"}, {":path", "/login"},
		{"content-type", "application/json"}} {
		if err := encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]}); err != nil {
			c.t.Fatal(err)
		}
	}
	if err := c.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block.Bytes(), EndHeaders: true}); err != nil {
		c.t.Fatal(err)
	}
}

func TestAFloodOfRequestsIsTurnedAwayAndPasses(t *testing.T) {
	w := start(t)
	// Their bodies are waited for no longer than 5 s, so there are half as many again as there is room for.
	const streams = 100
	flood := make([]framed, 30)
	for i := range flood {
		flood[i] = w.framed(t)
	}
	for i := range streams {
		for _, c := range flood {
			c.begin(uint32(2*i + 1))
		}
	}
	for answered := 0; ; {
		frame, err := flood[len(flood)-1].ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		headers, ok := frame.(*http2.MetaHeadersFrame)
		if !ok {
			continue
		}
		if headers.PseudoValue("status") == "503" {
			if got := values(headers, "retry-after"); got != "1" {
				t.Errorf("503 with Retry-After %q, want 1", got)
			}
			break
		}
		if answered++; answered == streams { // because their time was up
			t.Fatal("nobody was turned away")
		}
	}
	w.eventually("the others are served again", func() bool {
		a, err := w.try(w.get("/.well-known/jwks.json"))
		return err == nil && a.status == http.StatusOK
	})
	w.login("alice")
}

func values(headers *http2.MetaHeadersFrame, name string) (all string) {
	for _, field := range headers.RegularFields() {
		if field.Name == name {
			all += field.Value
		}
	}
	return all
}

func TestAConnectionHasSoManyStreamsAtMost(t *testing.T) {
	w := start(t)
	c := w.framed(t)
	for {
		frame, err := c.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if settings, ok := frame.(*http2.SettingsFrame); ok && !settings.IsAck() {
			if got, _ := settings.Value(http2.SettingMaxConcurrentStreams); got != 100 {
				t.Errorf("streams at once: got %d, want 100", got)
			}
			return
		}
	}
}
