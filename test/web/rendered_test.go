package web

import (
	"crypto/tls"
	"crypto/x509"
	"html/template"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/latchkey-dev/latchkey/internal/bundle"
	"github.com/latchkey-dev/latchkey/internal/policy"
)

// startPages runs two more pods of the same token service: replicas of an app that renders its pages on the server.
func (w *world) startPages() {
	w.Helper()
	serve(w, w.network+"6:8443", pages(), nil)
	b := w.bundle()
	b.Policy = policy.Document{
		Rules:   []policy.Rule{{Paths: []policy.Path{{Exact: "/sign-in"}}, Access: policy.AccessAnonymous}},
		Default: policy.AccessAuthenticated,
		Headers: []policy.Header{{Name: "X-Auth-Subject", Claim: "sub"}},
	}
	b.Session.ServerRendered = &bundle.ServerRendered{SignInPath: "/sign-in"}
	w.startPod("pages-", "5", "6", b)
	serve(w, w.network+"8:8443", pages(), nil)
	w.startPod("more-pages-", "7", "8", b) // the browser never meets this one
}

// ask sends a request to one of the pods, as a browser would from a page of the same origin.
func (w *world) ask(client *http.Client, pod, method, path, cookies, form string) *http.Response {
	r, err := http.NewRequest(method, "https://"+w.network+pod+":8443"+path, strings.NewReader(form))
	check(w, err)
	r.Host = pagesHost
	r.Header = http.Header{"Cookie": {cookies}, "Sec-Fetch-Site": {"same-origin"}, "Content-Type": {"application/x-www-form-urlencoded"}}
	answer, err := client.Do(r)
	if err != nil {
		w.Error(err)
		return &http.Response{}
	}
	_, _ = io.Copy(io.Discard, answer.Body)
	answer.Body.Close()
	return answer
}

// refreshes is what the token service has counted, by verdict.
func (w *world) refreshes() map[string]string {
	w.Helper()
	answer, err := http.Get("http://" + w.network + "3:8081/metrics")
	check(w, err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	check(w, err)
	found := map[string]string{}
	for _, match := range regexp.MustCompile(`(?m)^latchkey_issuer_refreshes_total\{verdict="(\w+)"\} (\d+)$`).FindAllStringSubmatch(string(text), -1) {
		found[match[1]] = match[2]
	}
	return found
}

func TestReplicasOfAnAppWithoutScriptsShareTheSession(t *testing.T) {
	w := newWorld(t, t.TempDir())
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(w.ca.CertPEM())
	client := &http.Client{
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: pagesHost}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	refreshToken := func(answer *http.Response) string {
		for _, cookie := range answer.Cookies() {
			if cookie.Name == "__Host-latchkey-refresh" {
				return cookie.Name + "=" + cookie.Value
			}
		}
		return ""
	}
	form := url.Values{"username": {"alice"}, "password": {"the password of alice"}, "return": {"/orders"}}
	signedIn := w.ask(client, "5", "POST", "/auth/login", "", form.Encode())
	before := refreshToken(signedIn)
	if signedIn.StatusCode != http.StatusSeeOther || before == "" {
		t.Fatalf("got %d and cookies %v, want 303 and a session", signedIn.StatusCode, signedIn.Cookies())
	}

	const each = 20
	answers := make([]*http.Response, 2*each)
	var group sync.WaitGroup
	for i := range answers {
		group.Go(func() { answers[i] = w.ask(client, []string{"5", "7"}[i%2], "GET", "/orders", before, "") })
	}
	group.Wait()
	successor := refreshToken(answers[0])
	for _, answer := range answers {
		if got := refreshToken(answer); answer.StatusCode >= 400 || got != successor || got == before {
			t.Errorf("got %d with another refresh token (%v), want the one successor", answer.StatusCode, got != successor)
		}
	}
	if diff := cmp.Diff(w.refreshes(), map[string]string{"rotate": "1", "repeat": "1"}); diff != "" { // one of each pod
		t.Errorf("%d requests: got refreshes -, want +:\n%s", len(answers), diff)
	}
	if again := w.ask(client, "7", "GET", "/orders", successor, ""); again.StatusCode != http.StatusTemporaryRedirect {
		t.Errorf("got %d with the successor, want 307: the session goes on", again.StatusCode)
	}
}

var page = template.Must(template.New("").Parse(`<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8" />
    <meta name="viewport" content="width=device-width" />
    <title>Orders</title>
  </head>
  <body>
{{- if .SignIn}}
    <h1>Sign in</h1>
    <form method="post" action="/auth/login">
      <p><label>Name <input name="username" autocomplete="username" required /></label></p>
      <p><label>Password <input name="password" type="password" autocomplete="current-password" required /></label></p>
      <input type="hidden" name="return" value="{{.Return}}" />
      <p role="alert">{{.Trouble}}</p>
      <button>Sign in</button>
    </form>
{{- else}}
    <h1>Orders of {{.User}}</h1>
    <p role="status">{{.Said}}</p>
{{- range .Parts}}
    <iframe title="part {{.}}" src="/part/{{.}}" width="90" height="50"></iframe>
{{- end}}
    <form method="post" action="/orders">
      <p><label>Order <input name="order" /></label></p>
      <button>Send</button>
    </form>
    <form method="post" action="/auth/logout"><button>Sign out</button></form>
    <form method="post" action="/auth/logout-all"><button>Sign out everywhere</button></form>
{{- end}}
  </body>
</html>
`))

// pages is an app without a line of script.
func pages() http.Handler {
	type view struct {
		SignIn                      bool
		User, Said, Return, Trouble string
		Parts                       []int
	}
	show := func(w http.ResponseWriter, v view) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", "default-src 'self'; script-src 'none'")
		_ = page.Execute(w, v) // a browser that gives up gets no page
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /sign-in", func(w http.ResponseWriter, r *http.Request) {
		trouble := map[string]string{"": "", "invalid_credentials": "Name or password is wrong."}
		said, known := trouble[r.FormValue("reason")]
		if !known {
			said = "Please try again."
		}
		show(w, view{SignIn: true, Return: r.FormValue("return"), Trouble: said})
	})
	mux.HandleFunc("GET /orders", func(w http.ResponseWriter, r *http.Request) {
		show(w, view{User: r.Header.Get("X-Auth-Subject"), Parts: []int{1, 2, 3, 4, 5, 6}})
	})
	mux.HandleFunc("POST /orders", func(w http.ResponseWriter, r *http.Request) {
		show(w, view{User: r.Header.Get("X-Auth-Subject"), Said: "Ordered: " + r.FormValue("order")})
	})
	mux.HandleFunc("GET /part/{id}", func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte(r.Header.Get("X-Auth-Subject") + " " + r.Header.Get("Cookie") + r.Header.Get("Authorization")))
	})
	return mux
}
