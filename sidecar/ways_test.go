package sidecar_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/latchkey-dev/latchkey/internal/bundle"
	"github.com/latchkey-dev/latchkey/internal/credential"
	"github.com/latchkey-dev/latchkey/internal/crossorigin"
)

// pod is a world whose app notes what it is asked, and answers with a header that it is told.
type pod struct {
	*world
	token string

	mu      sync.Mutex
	asked   []question
	answers string
}

// question is a request as an app reads it.
type question struct {
	Method, URI, Host, Body string
	Header                  http.Header
	Length                  int64
}

func newPod(t testing.TB, change func(*bundle.Bundle)) *pod {
	t.Helper()
	p := &pod{world: newWorld(t)}
	p.rawApp(func(conn net.Conn, r *http.Request) bool {
		body, _ := io.ReadAll(r.Body)
		p.mu.Lock()
		defer p.mu.Unlock()
		p.asked = append(p.asked, question{r.Method, r.RequestURI, r.Host, string(body), r.Header, r.ContentLength})
		_, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\n"+p.answers+"Content-Length: 5\r\n\r\nright")
		return err == nil
	})
	b := p.bundle()
	change(b)
	p.mount(b)
	p.start("--log-level=error")
	p.token = p.world.token("alice", map[string]any{"exp": time.Now().Add(24 * time.Hour).Unix(), "roles": []string{"admin", "reader"}})
	return p
}

// said is what a caller hears, but for what is new each time.
type said struct {
	Status int
	Header http.Header
	Body   string
}

// ask sends bytes over a connection of their own, and returns what came of them.
func (p *pod) ask(t testing.TB, method, sent, answers string) (asked []question, heard []said) {
	t.Helper()
	p.mu.Lock()
	p.answers, p.asked = answers, nil
	p.mu.Unlock()
	conn, err := net.Dial("tcp", p.podIP+":"+port)
	check(t, err)
	defer conn.Close()
	check(t, conn.SetDeadline(time.Now().Add(time.Minute)))
	_, err = io.WriteString(conn, sent)
	check(t, err)
	for reader := bufio.NewReader(conn); ; {
		response, err := http.ReadResponse(reader, &http.Request{Method: method})
		if err != nil {
			break
		}
		body, _ := io.ReadAll(response.Body)
		response.Header.Del("Date")
		one := said{response.StatusCode, response.Header, string(body)}
		if one.Status >= 300 { // of the sidecar, with an id; net/http says some of it in its own words
			one.Body, one.Header = "", nil
		}
		heard = append(heard, one)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked, heard
}

var fieldsOfCallers = []string{
	"", "Accept: */*\r\nUser-Agent: test\r\n", "user-agent:\r\nUser-Agent: second\r\n", "X-Forwarded-For: 1.2.3.4\r\nx-forwarded-for: 5.6.7.8, 9.9.9.9\r\nX-FORWARDED-FOR: \r\n",
	"Forwarded: for=a\r\nX-Forwarded-Host: b\r\nX-Forwarded-Proto: https\r\nX-Real-Ip: c\r\nX-Forwarded-Uri: /d\r\nX-Forwarded: e\r\n",
	"X-Auth-Subject: mallory\r\nX_auth-subject: mallory\r\nX.Auth.Roles: admin\r\nx-auth-subjects: other\r\n",
	"X-HTTP-Method-Override: DELETE\r\nX-Original-Url: /closed\r\nScript_Name: /public\r\n",
	"Cookie: a=b; __Secure-latchkey-refresh=secret; c=d\r\nCookie: __Secure-latchkey-refresh=secret\r\nCookie:\r\nCookie: e=f\r\n",
	"Cookie: token=TOKEN; other=1\r\n", "X-Token: TOKEN\r\nX_Token: x\r\n", "Authorization: Basic abc\r\n", "authorization: bEARER TOKEN\r\n", "Authorization: Bearer\r\n",
	"Authorization: Bearer TOKEN\r\nAuthorization: Basic abc\r\n", "Authorization: Bearer TOKEN\r\nConnection: keep-alive\r\n", "Authorization: Bearer TOKENx\r\n",
	"Traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\nTracestate: a=b\r\n", "Origin: https://other.example\r\nSec-Fetch-Site: cross-site\r\n",
	"Connection: close\r\nX-A: \t a\tb \r\nX-A: \r\nx-a: c\r\n", "Content-Type: application/grpc\r\n", "Via: 1.1 a\r\nRange: bytes=0-1\r\nIf-None-Match: \"a\"\r\n", "X: \x7f\r\n", "X: é\r\n",
	"Http2-Settings: a\r\n", "Trailer: X-Auth-Subject\r\n", "Host: other\r\n", "X-Long: " + strings.Repeat("long ", 100) + "\r\n",
}

var fieldsOfApps = []string{
	"", "Content-Type: text/plain\r\nServer: app\r\n", "set-cookie: a=b\r\nSet-Cookie: c=d\r\nX_odd: \t e \r\n", "Connection: keep-alive\r\nKeep-Alive: timeout=5\r\n",
	"Access-Control-Allow-Origin: *\r\nVary: Origin\r\nVary: Accept\r\n", "Connection: X-Hop, close\r\nX-Hop: 1\r\n", "Date: Thu, 01 Jan 2026 00:00:00 GMT\r\n", "X: é\r\n", "Cache-Control: public\r\n",
	"Content-Length: 5\r\n", "Trailer:X-A: 1\r\n", "Transfer-Encoding: identity\r\n", "Bad Name: 1\r\n", "Location: /a\r\nContent-Encoding: gzip\r\nEtag: \"a\"\r\n",
}

// Nearly all requests go to the app past net/http. Whatever fields a caller and an app send: both hear what they would hear by net/http.
func FuzzBothWaysToTheAppAreAlike(f *testing.F) {
	for i, fields := range fieldsOfCallers {
		f.Add("GET", "/public/a?b=c", fields, fieldsOfApps[i%len(fieldsOfApps)], i%3 == 0)
		f.Add("POST", "/admin/a", fields, fieldsOfApps[(i+5)%len(fieldsOfApps)], i%3 != 0)
	}
	f.Add("GET", "/admin/a%20b?token=TOKEN&x=%zz", "", "", false)
	f.Add("PUT", "/public/?", "", "", true)
	pods := []*pod{
		newPod(f, func(*bundle.Bundle) {}),
		newPod(f, func(b *bundle.Bundle) { b.Policy.KeepToken = true }),
		newPod(f, func(b *bundle.Bundle) {
			b.TokenSources = []credential.Source{{Header: "Authorization"}, {Header: "X-Token"}, {Cookie: "token"}, {Query: "token"}}
			b.CORS = &crossorigin.Document{AllowOrigins: []string{"https://other.example"}}
		}),
	}
	f.Fuzz(func(t *testing.T, method, target, fields, answers string, signedIn bool) {
		if folded := strings.ToLower(fields); strings.Contains(folded, "content-length") || strings.Contains(folded, "transfer-encoding") || strings.Contains(folded, "expect") {
			return // who announces a body and sends none is waited for
		}
		if strings.ContainsAny(method+target, " \r\n") || method == "PRI" || !isLines(fields) || !isLines(answers) {
			return
		}
		for i, p := range pods {
			head := method + " " + target + " HTTP/1.1\r\nHost: app\r\nConnection: close\r\n" + fields
			if signedIn {
				head += "Authorization: Bearer TOKEN\r\n"
			}
			if method == "POST" {
				head += "Content-Length: 5\r\n"
			}
			head = strings.ReplaceAll(head, "TOKEN", p.token)
			body := ""
			if method == "POST" {
				body = "hello"
			}
			asked, heard := p.ask(t, method, head+"\r\n"+body, answers)
			// This is about the connection, so our own reader leaves it alone, and no app ever sees it.
			wantAsked, wantHeard := p.ask(t, method, head+"Keep-Alive: 5\r\n\r\n"+body, answers)
			if diff := cmp.Diff(asked, wantAsked); diff != "" {
				t.Errorf("pod %d: got -, want + of what the app is asked:\n%s", i, diff)
			}
			if diff := cmp.Diff(heard, wantHeard); diff != "" && !slices.ContainsFunc(wantHeard, refused) {
				t.Errorf("pod %d: got -, want + of what the caller hears:\n%s", i, diff)
			}
		}
	})
}

// isLines says whether text is lines that end with CRLF, none of them empty. Where a head ends elsewhere, who sent it and who reads it wait for each other.
func isLines(text string) bool {
	for line := range strings.SplitAfterSeq(text, "\n") {
		if line != "" && (len(line) < 3 || !strings.HasSuffix(line, "\r\n")) {
			return false
		}
	}
	return true
}

// refused says whether net/http did not read an answer or a request. What it says is the same by both ways, but may come once or twice.
func refused(one said) bool {
	return one.Status == http.StatusBadRequest || one.Status == http.StatusBadGateway
}
