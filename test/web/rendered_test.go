package web

import (
	"html/template"
	"net/http"

	"github.com/latchkey-dev/latchkey/internal/bundle"
	"github.com/latchkey-dev/latchkey/internal/policy"
)

// startPages runs a second pod of the same token service, whose app renders its pages on the server.
func (w *world) startPages() {
	w.Helper()
	w.serve(w.network+"6:8443", pages(), nil)
	b := w.bundle()
	b.Policy = policy.Document{
		Rules:   []policy.Rule{{Paths: []policy.Path{{Exact: "/sign-in"}}, Access: policy.AccessAnonymous}},
		Default: policy.AccessAuthenticated,
		Headers: []policy.Header{{Name: "X-Auth-Subject", Claim: "sub"}},
	}
	b.Session.ServerRendered = &bundle.ServerRendered{SignInPath: "/sign-in"}
	w.startPod("pages-", "5", "6", b)
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
