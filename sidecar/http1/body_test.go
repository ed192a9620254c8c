package http1_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-dev/latchkey/sidecar/http1"
)

// A body is had whole though it comes after its head, unless it is long or late. Nothing of what follows it is taken, and nothing is lost of what is not had.
func TestBodyThatComesAfterItsHeadIsHadWhole(t *testing.T) {
	type got struct {
		Whole bool
		Body  string
	}
	// What is sent in one write is read in parts of 8 KiB, so that the length of the head says where the body is torn apart.
	const room = 8 << 10
	long := strings.Repeat("l", room+1)
	tests := []struct {
		name string
		head int // its length
		body string
		late int // so much of the end of the body is sent when nobody waits for it any more
		want got
	}{
		{"with the head", 200, "hello", 0, got{true, "hello"}},
		{"after the head", room, "hello", 0, got{true, "hello"}},
		{"torn apart", room - 2, "hello", 0, got{true, "hello"}},
		{"as much as there is room for", 200, long[1:], 0, got{true, long[1:]}},
		{"too long", 200, long, 0, got{false, long}},
		{"too late", 200, "hello", 3, got{false, "hello"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			tried, heard := make(chan struct{}), make(chan got, 2)
			_, ours := both(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				body, ok := r.Body.(*http1.Body)
				if !ok {
					heard <- got{}
					return
				}
				whole, had := body.Whole()
				close(tried)
				if had {
					heard <- got{true, string(whole)}
					return
				}
				rest, err := io.ReadAll(r.Body)
				if err != nil {
					rest = []byte(err.Error())
				}
				heard <- got{false, string(rest)}
			}), func() { t.Error("it was handed over") })
			conn := ours(t)
			defer conn.Close()
			check(t, conn.SetDeadline(time.Now().Add(time.Minute)))
			head := fmt.Sprintf("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\nX-Long: ", len(test.body))
			head += strings.Repeat("x", test.head-len(head)-len("\r\n\r\n")) + "\r\n\r\n"
			_, err := io.WriteString(conn, head+test.body[:len(test.body)-test.late])
			check(t, err)
			if test.late > 0 {
				<-tried
				_, err = io.WriteString(conn, test.body[len(test.body)-test.late:])
				check(t, err)
			}
			_, err = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			check(t, err)
			if got := <-heard; got != test.want {
				t.Errorf("got %.100v, want %.100v", got, test.want)
			}
			reader := bufio.NewReader(conn)
			for range 2 {
				response, err := http.ReadResponse(reader, nil)
				check(t, err)
				if response.StatusCode != http.StatusOK {
					t.Errorf("got %s", response.Status)
				}
			}
		})
	}
}
