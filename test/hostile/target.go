package hostile

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/latchkey-dev/latchkey/internal/policy"
)

// Target is a data plane under Policy in front of App.
type Target struct {
	Address string // where it takes requests; App is reached from there alone
	App     *App
	// Token is good, speaks for alice, and has the role editor.
	Token string
}

// Policy is what the target has to enforce.
func Policy() policy.Document {
	return policy.Document{
		Rules: []policy.Rule{
			{Paths: []policy.Path{{Prefix: "/public"}}, Access: policy.AccessAnonymous},
			{Paths: []policy.Path{{Prefix: "/admin"}}, Claims: []policy.Requirement{{Claim: "roles", AnyOf: []string{"admin"}}}},
			{Paths: []policy.Path{{Prefix: "/closed"}}, Access: policy.AccessDeny},
		},
		Default: policy.AccessAuthenticated,
		Headers: []policy.Header{{Name: "X-Auth-Subject", Claim: "sub"}, {Name: "X-Auth-Roles", Claim: "roles"}},
	}
}

// patience is how long an answer may take, on a busy machine.
const patience = time.Minute

// Run sends every trick, over each protocol that can express it, and checks what is answered and what reached the app.
func Run(t *testing.T, target Target) {
	t.Helper()
	for _, each := range requests {
		t.Run("HTTP/1.1: "+each.name, func(t *testing.T) {
			target.check(t, target.sendBytes(t, each.bytes(target.Token)), each.want, each.reaches, isFraming)
		})
		t.Run("h2c: "+each.name, func(t *testing.T) {
			target.check(t, target.sendFrames(t, each.frames(target.Token)), each.want, each.reaches, isFraming)
		})
	}
	for _, each := range bytesOnly {
		t.Run("HTTP/1.1: "+each.name, func(t *testing.T) {
			target.check(t, target.sendBytes(t, strings.ReplaceAll(each.bytes, "TOKEN", target.Token)), each.want, each.reaches, nil)
		})
	}
	for _, each := range framesOnly {
		t.Run("h2c: "+each.name, func(t *testing.T) {
			target.check(t, target.sendFrames(t, each.frames), each.want, each.reaches, nil)
		})
	}
}

// isFraming says whether a header is about the body's length, which each protocol has in its own way.
func isFraming(line string) bool {
	return strings.HasPrefix(line, "content-length: ") || strings.HasPrefix(line, "transfer-encoding: ")
}

// check compares, but for lines that are left out. What the data plane says of the peer goes without saying.
func (target Target) check(t *testing.T, answers []string, want string, reaches []string, leftOut func(line string) bool) {
	t.Helper()
	if got := strings.Join(answers, ", "); got != want {
		t.Errorf("got answers %s, want %s", got, want)
	}
	var reached []string
	for _, each := range target.App.Take() {
		lines := slices.DeleteFunc(strings.Split(each, "\n"), func(line string) bool {
			return line == "x-forwarded-for: 127.0.0.1" || leftOut != nil && leftOut(line)
		})
		reached = append(reached, strings.Join(lines, "\n"))
	}
	if diff := cmp.Diff(reached, reaches); diff != "" {
		t.Errorf("got -, want + of what reached the app:\n%s", diff)
	}
}

// last follows every other bytes. It is refused before it can reach the app and closes the connection, so what is answered before it is all
// there was.
const last = "GET /closed HTTP/1.1\r\nHost: app\r\nConnection: close\r\n\r\n"

// sendBytes returns each answer as its status and its reason, or "malformed" where there is none but that.
func (target Target) sendBytes(t *testing.T, sent string) []string {
	t.Helper()
	connection := target.dial(t)
	go func() { _, _ = io.WriteString(connection, sent+last) }() // it may be answered, and closed, before all of it was taken
	reader := bufio.NewReader(connection)
	var answers []string
	for {
		response, err := http.ReadResponse(reader, nil)
		if err != nil {
			break
		}
		body, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		answers = append(answers, describe(response.StatusCode, body))
		if err != nil {
			break
		}
	}
	if len(answers) == 0 {
		return []string{malformed} // closed without a word, or reset before the word arrived
	}
	if end := len(answers) - 1; answers[end] == "403 denied" {
		return answers[:end]
	}
	return answers
}

// malformed is what a caller is told who speaks no proper HTTP. It depends on the data plane in which words: 400, 417, 431, 501 or 505, the end of the
// stream or that of the connection. No rule was asked.
const malformed = "malformed"

func describe(status int, body []byte) string {
	var document struct{ Reason string }
	_ = json.Unmarshal(body, &document)
	if status >= http.StatusBadRequest && document.Reason == "" {
		return malformed
	}
	return strings.TrimSpace(fmt.Sprintf("%d %s", status, document.Reason))
}

func (target Target) dial(t *testing.T) net.Conn {
	t.Helper()
	connection, err := net.Dial("tcp", target.Address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = connection.Close() })
	if err := connection.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return connection
}

// block is one of the parts of which a stream is made: fields, pseudo-headers included, or a body.
type block struct {
	fields []hpack.HeaderField
	data   string
}

// sendFrames sends one stream, and returns its answer.
func (target Target) sendFrames(t *testing.T, blocks []block) []string {
	t.Helper()
	connection := target.dial(t)
	if _, err := io.WriteString(connection, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	framer := http2.NewFramer(connection, connection)
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	framer.AllowIllegalWrites = true
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	must(framer.WriteSettings())
	var encoded bytes.Buffer
	encoder := hpack.NewEncoder(&encoded)
	for i, each := range blocks {
		end := i == len(blocks)-1
		if each.fields == nil {
			must(framer.WriteData(1, end, []byte(each.data)))
			continue
		}
		encoded.Reset()
		for _, field := range each.fields {
			must(encoder.WriteField(field))
		}
		must(framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: encoded.Bytes(), EndHeaders: true, EndStream: end}))
	}
	status, body := 0, []byte(nil)
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return []string{malformed}
		}
		ended := false
		switch frame := frame.(type) {
		case *http2.MetaHeadersFrame:
			if text := frame.PseudoValue("status"); text != "" {
				_, _ = fmt.Sscan(text, &status)
			}
			ended = frame.StreamEnded()
		case *http2.DataFrame:
			body = append(body, frame.Data()...)
			ended = frame.StreamEnded()
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			return []string{malformed}
		}
		if ended {
			return []string{describe(status, body)}
		}
	}
}
