package web

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/test/controlplane"
	"github.com/latchkey-dev/latchkey/test/debian"
	"github.com/latchkey-dev/latchkey/test/installation"
)

// exchange is a request of the page, and what the page says is answered.
type exchange struct{ section, command, answer string }

// exchanges reads the page's blocks of commands.
func exchanges(t *testing.T) []exchange {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(controlplane.Root(), "docs", "client-flows.md"))
	check(t, err)
	var all []exchange
	for _, section := range strings.Split(string(page), "\n## ")[1:] {
		title, _, _ := strings.Cut(section, "\n")
		for i, block := range strings.Split(section, "\n```\n") {
			if i%2 == 0 || !strings.HasPrefix(block, "$ ") {
				continue
			}
			for _, each := range strings.Split("\n"+block, "\n$ ")[1:] {
				lines := strings.Split(each, "\n")
				end := 1
				for strings.HasSuffix(lines[end-1], `\`) {
					end++
				}
				all = append(all, exchange{title, strings.Join(lines[:end], "\n"), strings.Join(lines[end:], "\n")})
			}
		}
	}
	return all
}

// shell is where the page's commands are typed.
type shell struct {
	*testing.T
	dir       string
	variables map[string]string
}

func (s *shell) run(command string) string {
	s.Helper()
	// As the page says of commands that are typed outside the cluster's DNS.
	run := exec.CommandContext(s.Context(), "bash", "-c", `curl() { command curl -s --max-time 60 ${NEAR:+--connect-to "$NEAR"} "$@"; }`+"\n"+command)
	run.Dir, run.Env = s.dir, os.Environ()
	for name, value := range s.variables {
		run.Env = append(run.Env, name+"="+value)
	}
	output, err := run.CombinedOutput()
	if err != nil {
		s.Fatalf("%s: %v\n%s", command, err, output)
	}
	return strings.ReplaceAll(string(output), "\r", "")
}

var (
	accessToken  = regexp.MustCompile(`"access_token":"([^"]+)"`)
	refreshToken = regexp.MustCompile(`(?:"refresh_token":"|__Secure-latchkey-refresh=)([^";]+)`)
)

// keep gives the tokens of an answer the names that the page's commands know them by.
func (s *shell) keep(answer string) {
	if found := accessToken.FindStringSubmatch(answer); found != nil {
		s.variables["ACCESS"] = found[1]
	}
	if found := refreshToken.FindStringSubmatch(answer); found != nil {
		s.variables["OLD_REFRESH"], s.variables["REFRESH"] = s.variables["REFRESH"], found[1]
	}
}

func TestTheRequestsOfClientFlowsAreAnsweredAsThePageSays(t *testing.T) {
	debian.Program(t, "curl", "curl")
	q := startQuickstart(t)
	s := &shell{t, t.TempDir(), map[string]string{"APP": q.app()}}
	prepare := map[string]func(){
		"Browser": func() {},
		"Mobile app, API client": func() {
			q.patch(&v1alpha1.TokenIssuer{}, `{"spec":{"refreshToken":{"delivery":"Body"}}}`)
			q.await(func() (bool, string) {
				answer := s.run(`curl $APP/auth/login -H 'Content-Type: application/json' -d '{"username":"bob","password":"can we fix it"}'`)
				return strings.Contains(answer, "refresh_token"), answer
			})
		},
		"Backend of your own": func() { q.trustOperator(s) },
	}
	section, sent := "", 0
	for _, each := range exchanges(t) {
		if strings.HasPrefix(each.command, "TOKEN=") || strings.HasPrefix(each.command, "kubectl") || strings.HasPrefix(each.command, "URL=") {
			continue // which trustOperator does
		}
		if each.section != section {
			section = each.section
			prepare[section]()
		}
		if strings.Contains(each.command, "$OLD_REFRESH") {
			<-time.After(2500 * time.Millisecond) // the quickstart's reuseWindow, and half a second
		}
		got := s.run("curl -i " + strings.TrimPrefix(strings.TrimPrefix(each.command, "curl "), "-i "))
		s.keep(got)
		sent++
		if diff := cmp.Diff(told(got, each.answer), told(each.answer, each.answer)); diff != "" {
			t.Errorf("%s: the answer (-got +on the page):\n%s\n%s", each.command, diff, got)
		}
	}
	if sent != 13 {
		t.Errorf("sent %d requests, want the 13 of the page", sent)
	}
}

// told is what of an answer can be compared with what the page shows of it: the status line and the headers that are there, without their
// secrets, and of a body in JSON its members, with those values that never differ.
func told(answer, page string) []string {
	head, body, whole := strings.Cut(answer, "\n\n")
	if !whole && !strings.HasPrefix(answer, "HTTP/") {
		head, body = "", answer
	}
	if whole && !strings.Contains(page, "\n{") && strings.HasPrefix(page, "HTTP/") {
		body = ""
	}
	var lines []string
	for _, line := range strings.Split(strings.TrimSpace(head), "\n") {
		name, _, _ := strings.Cut(line, ": ")
		if strings.HasPrefix(page, "HTTP/") && line != "" && (strings.HasPrefix(line, "HTTP/") || strings.Contains(page, "\n"+name+": ")) {
			lines = append(lines, regexp.MustCompile(`refresh=[^;]+;`).ReplaceAllString(strings.TrimSpace(line), "refresh=...;"))
		}
	}
	slices.Sort(lines)
	var value any
	if json.Unmarshal([]byte(body), &value) != nil {
		return append(lines, strings.TrimSpace(body))
	}
	if !json.Valid([]byte(pageBody(page))) { // the beginning of a body
		return append(lines, body[:min(len(body), len(strings.TrimSpace(pageBody(page))))])
	}
	return append(lines, members("", value)...)
}

func pageBody(page string) string {
	if head, body, found := strings.Cut(page, "\n\n"); found && strings.HasPrefix(head, "HTTP/") {
		return body
	}
	return page
}

// lasting are members whose value is always the same.
var lasting = []string{"token_type", "title", "status", "reason", "detail", "error", "error_description", "active", "iss", "sub", "current"}

func members(path string, value any) (all []string) {
	switch value := value.(type) {
	case map[string]any:
		for name, each := range value {
			all = append(all, members(path+"."+name, each)...)
		}
	case []any:
		for _, each := range value {
			all = append(all, members(path+"[]", each)...)
		}
	default:
		if slices.Contains(lasting, path[strings.LastIndex(path, ".")+1:]) {
			path += fmt.Sprintf("=%v", value)
		}
		all = []string{path}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// trustOperator does what the page has kubectl do, and what a cluster's DNS does.
func (q *quickstart) trustOperator(s *shell) {
	q.Helper()
	operator := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: quickstartKey.Namespace, Name: "operator"}}
	check(q, q.Kube.Create(q.Context(), operator))
	q.patch(&v1alpha1.TokenIssuer{}, `{"spec":{"login":{"trustedBackends":[{"name":"operator"}]}}}`)
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: []string{"https://auth.quickstart.example"}}}
	check(q, q.Kube.SubResource("token").Create(q.Context(), operator, request))

	var issuer v1alpha1.TokenIssuer
	var service corev1.Service
	var certificate corev1.Secret
	check(q, q.Kube.Get(q.Context(), quickstartKey, &issuer))
	check(q, q.Kube.Get(q.Context(), client.ObjectKey{Namespace: quickstartKey.Namespace, Name: "quickstart-issuer"}, &service))
	check(q, q.Kube.Get(q.Context(), client.ObjectKey{Namespace: quickstartKey.Namespace, Name: "quickstart-issuer-tls"}, &certificate))
	check(q, os.WriteFile(filepath.Join(s.dir, "ca.crt"), certificate.Data["tls.crt"], 0o600))
	at, err := url.Parse(issuer.Status.URL)
	check(q, err)
	s.variables["TOKEN"], s.variables["URL"] = request.Status.Token, issuer.Status.URL
	s.variables["NEAR"] = at.Host + ":" + service.Spec.ClusterIP + ":8443"
	q.await(func() (bool, string) {
		answer := s.run(`curl --cacert ca.crt $URL/introspect -H "Authorization: Bearer $TOKEN" -d token=none`)
		return strings.Contains(answer, "active"), answer
	})
	q.await(func() (bool, string) { return installation.Ready(q.Context(), q.Kube, "TokenIssuer", quickstartKey) })
}
