package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"
)

// refreshCookie is the name of the cookie that holds the refresh token.
const refreshCookie = "__Secure-latchkey-refresh"

// request is one HTTP request as a person would type it: Path begins with $APP, and headers may hold other shell variables.
type request struct {
	Method  string // GET unless said otherwise
	Path    string
	Headers []string // "Name: value"
	JSON    string   // body; makes the method POST
}

// answer is what came back.
type answer struct {
	Proto   string
	Status  int
	Header  http.Header
	Body    []byte
	Took    time.Duration
	request request
}

// lineWidth is where long commands are broken.
const lineWidth = 110

// curl is the request as a command.
func (r request) curl() string {
	parts := []string{"curl -i " + quote(r.Path)}
	if r.Method != "" {
		parts = append(parts, "-X "+r.Method)
	}
	for _, header := range r.Headers {
		parts = append(parts, "-H "+quote(header))
	}
	if r.JSON != "" {
		parts = append(parts, "--json "+quote(r.JSON))
	}
	if command := strings.Join(parts, " "); len(command) <= lineWidth {
		return command
	}
	return strings.Join(parts, " \\\n    ")
}

// String names the request in an error: without its headers, which may hold tokens.
func (r request) String() string {
	if r.Method == "" && r.JSON == "" {
		return "GET " + r.Path
	}
	return "POST " + r.Path
}

// quote makes one word of the shell of text, whose variables stay variables.
func quote(text string) string {
	switch {
	case !strings.ContainsAny(text, " \"'{}*?&;|<>()"):
		return text
	case strings.Contains(text, "$"):
		return `"` + strings.ReplaceAll(text, `"`, `\"`) + `"`
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// variables are the shell variables that the commands on the screen use. They are kept in a file, for a shell to read.
type variables struct {
	file   string
	values map[string]string
}

func (v *variables) set(name, value string) error {
	v.values[name] = value
	var text strings.Builder
	text.WriteString("# The variables of the demo's commands: read this file with `. " + v.file + "`.\n")
	names := make([]string, 0, len(v.values))
	for name := range v.values {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		fmt.Fprintf(&text, "%s='%s'\n", name, v.values[name])
	}
	return os.WriteFile(v.file, []byte(text.String()), 0o600)
}

func (v *variables) expand(text string) string {
	return os.Expand(text, func(name string) string { return v.values[name] })
}

// client sends exactly what is shown: no redirects followed, nothing compressed, no cookies kept, no proxy.
var client = &http.Client{
	Transport:     &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 100},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	Timeout:       10 * time.Second,
}

// do makes a request.
func (d *demo) do(ctx context.Context, r request) (*answer, error) {
	method, body := r.Method, io.Reader(nil)
	if r.JSON != "" {
		method, body = http.MethodPost, strings.NewReader(r.JSON)
	}
	wire, err := http.NewRequestWithContext(ctx, method, d.vars.expand(r.Path), body)
	if err != nil {
		return nil, err
	}
	wire.Header.Set("User-Agent", "latchkey-demo")
	if r.JSON != "" {
		wire.Header.Set("Content-Type", "application/json")
	}
	for _, header := range r.Headers {
		name, value, _ := strings.Cut(header, ": ")
		wire.Header[name] = append(wire.Header[name], d.vars.expand(value)) // the name as it was typed, x_auth_subject too
	}
	began := time.Now()
	response, err := client.Do(wire)
	if err != nil {
		return nil, interrupted(ctx, err)
	}
	defer response.Body.Close()
	bytes, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return nil, interrupted(ctx, err)
	}
	return &answer{Proto: response.Proto, Status: response.StatusCode, Header: response.Header, Body: bytes, Took: time.Since(began), request: r}, nil
}

// worthShowing are the headers that say something about sign-in.
var worthShowing = []string{"Www-Authenticate", "Set-Cookie", "Retry-After", "Content-Type"}

func (d *demo) showAnswer(a *answer) {
	style := green
	if a.Status >= 400 {
		style = yellow
	}
	d.screen.line(style, indent(fmt.Sprintf("%s %d %s", a.Proto, a.Status, http.StatusText(a.Status))))
	for _, name := range worthShowing {
		for _, value := range a.Header[name] {
			d.screen.line(dim, indent(strings.Replace(name, "Www", "WWW", 1)+": "+abbreviate(value)))
		}
	}
	if body := pretty(a.Body); body != "" {
		d.screen.indented(abbreviate(body))
	}
	d.screen.blank()
}

// pretty indents JSON that does not fit on a line.
func pretty(body []byte) string {
	var compact, indented bytes.Buffer
	if json.Compact(&compact, body) != nil {
		return strings.TrimSpace(string(body))
	}
	if compact.Len() <= lineWidth {
		return compact.String()
	}
	_ = json.Indent(&indented, compact.Bytes(), "", "  ") // it was compacted: it is JSON
	return lonely.ReplaceAllString(indented.String(), "[$1]")
}

// lonely is a list of one, which needs no three lines.
var lonely = regexp.MustCompile(`\[\n\s+("[^"\n]*")\n\s+\]`)

// secrets are what is too long to read: JWTs and refresh tokens. Their beginning and end tell them apart.
var secrets = regexp.MustCompile(`eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+|` + refreshCookie + `=[A-Za-z0-9_-]{24,}`)

func abbreviate(text string) string {
	return secrets.ReplaceAllStringFunc(text, func(secret string) string {
		name := ""
		if rest, ok := strings.CutPrefix(secret, refreshCookie+"="); ok {
			name, secret = refreshCookie+"=", rest
		}
		return name + secret[:8] + "…" + secret[len(secret)-8:]
	})
}

// status is an error unless the answer has this status.
func (a *answer) status(want int) error {
	if a.Status == want {
		return nil
	}
	body := pretty(a.Body)
	if reason := a.reason(); reason != "" {
		body = "reason " + reason
	} else if before, _, long := strings.Cut(body, "\n"); long {
		body = before + " …"
	}
	return fmt.Errorf("%s answered %d, want %d: %s", a.request, a.Status, want, abbreviate(body))
}

// into reads a JSON body.
func (a *answer) into(value any) error {
	if err := json.Unmarshal(a.Body, value); err != nil {
		return fmt.Errorf("%s: the body is not what was expected: %w", a.request, err)
	}
	return nil
}

// reason is the stable reason that an error's body gives (RFC 9457 problem details).
func (a *answer) reason() string {
	var problem struct{ Reason string }
	_ = json.Unmarshal(a.Body, &problem) // a body of another kind gives none
	return problem.Reason
}
