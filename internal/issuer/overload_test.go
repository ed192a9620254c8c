package issuer_test

import (
	"bytes"
	"crypto/tls"
	"io"
	"net/http"
	"sync"
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
	// Each keeps as many requests open as it may: together half as many again as there is room for, however long it takes to say so, and though
	// their bodies are waited for no longer than 5 s.
	const streams = 100
	turnedAway := make(chan string, 1)
	over := make(chan struct{})
	var flood sync.WaitGroup
	for range 30 {
		c := w.framed(t)
		flood.Go(func() {
			for i := range uint32(streams) {
				c.begin(2*i + 1)
			}
			for next := uint32(streams); ; {
				select {
				case <-over:
					return
				default:
				}
				frame, err := c.ReadFrame()
				if err != nil {
					t.Error(err)
					return
				}
				headers, ok := frame.(*http2.MetaHeadersFrame)
				switch {
				case !ok:
					continue
				case headers.PseudoValue("status") == "503":
					select {
					case turnedAway <- values(headers, "retry-after"):
					default:
					}
					return
				}
				c.begin(2*next + 1)
				next++
			}
		})
	}
	go func() {
		flood.Wait()
		close(turnedAway)
	}()
	switch got, ok := <-turnedAway; {
	case !ok:
		t.Fatal("nobody was turned away")
	case got != "1":
		t.Errorf("503 with Retry-After %q, want 1", got)
	}
	close(over)
	flood.Wait()
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
