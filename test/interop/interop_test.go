package interop

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"text/template"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/internal/signing"
	"github.com/latchkey-dev/latchkey/test/debian"
	"github.com/latchkey-dev/latchkey/test/guard"
	"github.com/latchkey-dev/latchkey/test/installation"
	"github.com/latchkey-dev/latchkey/test/npm"
	"github.com/latchkey-dev/latchkey/test/snippet"
)

const (
	namespace = "interop"
	audience  = "shop"
	subject   = "alice"
)

// key is one SigningKey of the test.
type key struct {
	Algorithm string
	Bits      int
}

// Name is that of the SigningKey, and of the volume that shows its Secret.
func (k key) Name() string { return strings.ToLower(k.Algorithm) }

func (k key) Issuer() string { return "https://" + k.Name() + ".login.example.com" }

func (k key) Symmetric() bool { return strings.HasPrefix(k.Algorithm, "HS") }

var keys = []key{
	{"ES256", 0}, {"ES384", 0}, {"ES512", 0},
	{"RS256", 2048}, {"RS384", 3072}, {"RS512", 4096},
	{"PS256", 2048}, {"PS384", 3072}, {"PS512", 4096},
	{"EdDSA", 0},
	{"HS256", 0}, {"HS384", 0}, {"HS512", 0},
}

func TestMain(m *testing.M) { os.Exit(guard.Main("interop", m.Run)) }

// world is an app that takes tokens of every key, and the pod of a login server that mounts them all.
type world struct {
	*installation.Installation
	app   string // address of the sidecar
	login *corev1.Pod
}

func newWorld(t *testing.T) *world {
	t.Helper()
	ctx, stop := signal.NotifyContext(t.Context(), syscall.SIGTERM)
	t.Cleanup(stop)
	i, err := installation.Start(ctx, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := i.Stop(); err != nil {
			t.Error(err)
		}
	})
	w := &world{Installation: i}
	var text bytes.Buffer
	if err := template.Must(template.ParseFiles("testdata/world.yaml")).Execute(&text, keys); err != nil {
		t.Fatal(err)
	}
	if _, err := installation.ApplyText(ctx, i.Kube, text.String()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"app", "login"} {
		if _, err := installation.Await(ctx, time.Minute, func() (bool, string) {
			return installation.DeploymentReady(ctx, i.Kube, client.ObjectKey{Namespace: namespace, Name: name})
		}); err != nil {
			t.Fatalf("Deployment %s: %v", name, err)
		}
	}
	w.app, w.login = w.pod(ctx, t, "app").Status.PodIP+":8080", w.pod(ctx, t, "login")
	return w
}

func (w *world) pod(ctx context.Context, t *testing.T, app string) *corev1.Pod {
	t.Helper()
	var pods corev1.PodList
	if err := w.Kube.List(ctx, &pods, client.InNamespace(namespace), client.MatchingLabels{"app": app}); err != nil {
		t.Fatal(err)
	}
	if len(pods.Items) != 1 {
		t.Fatalf("got %d pods of %s, want one", len(pods.Items), app)
	}
	return &pods.Items[0]
}

// mounted is the directory that the login server sees at the mount path of a key.
func (w *world) mounted(k key) string { return w.Node.VolumeDir(w.login, k.Name()) }

// send sends a token to the app, and returns the status, and whom the app greets.
func (w *world) send(t *testing.T, token string) (status int, greets string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+w.app+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	var seen struct{ Hello string }
	_ = json.Unmarshal(body, &seen) // a refusal greets nobody
	return response.StatusCode, seen.Hello
}

// passes wants the app to take a token, and to refuse it when its signature is put under other claims.
func (w *world) passes(t *testing.T, token string) {
	t.Helper()
	if status, greets := w.send(t, token); status != http.StatusOK || greets != subject {
		t.Errorf("got status %d and %q greeted, want 200 and %q, with the token %s", status, greets, subject, token)
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("got %d parts, want a JWS of three", len(parts))
	}
	claims, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	forged := parts[0] + "." + base64.RawURLEncoding.EncodeToString(bytes.Replace(claims, []byte(subject), []byte("root"), 1)) + "." + parts[2]
	if status, _ := w.send(t, forged); status != http.StatusUnauthorized {
		t.Errorf("got status %d for a forged token, want 401", status)
	}
}

func TestIndependentImplementationsSignWithWhatAPodMountsAndVerifyWhatIsPublished(t *testing.T) {
	openssl := debian.Program(t, "openssl", "openssl")
	node := npm.Install(t, "jose")
	page := snippet.Programs(t, "docs/interop.md")
	for _, name := range []string{"sign.mjs", "sign.sh", "verify.mjs"} {
		if page[name] == "" {
			t.Fatalf("docs/interop.md has no program %s", name)
		}
		node.Write(t, name, page[name])
	}
	t.Setenv("PATH", filepath.Dir(openssl)+string(os.PathListSeparator)+os.Getenv("PATH"))
	w := newWorld(t)

	for _, k := range keys {
		t.Run("jose signs with "+k.Algorithm, func(t *testing.T) {
			token, err := node.Node(t, "sign.mjs", w.mounted(k), k.Issuer(), audience, subject)
			if err != nil {
				t.Fatal(err)
			}
			w.passes(t, token)
		})
		if k.Symmetric() {
			continue // neither has OpenSSL a way to take a secret, nor is any key set of it published
		}
		t.Run("OpenSSL signs with "+k.Algorithm, func(t *testing.T) {
			sign := exec.CommandContext(t.Context(), "bash", filepath.Join(node.Dir, "sign.sh"), w.mounted(k), k.Issuer(), audience, subject)
			var stderr bytes.Buffer
			sign.Stderr = &stderr
			token, err := sign.Output()
			if err != nil {
				t.Fatalf("%v\n%s", err, stderr.Bytes())
			}
			w.passes(t, strings.TrimSpace(string(token)))
		})
		t.Run("jose verifies what we sign with "+k.Algorithm, func(t *testing.T) {
			var published corev1.ConfigMap
			if err := w.Kube.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: k.Name() + "-jwks"}, &published); err != nil {
				t.Fatal(err)
			}
			node.Write(t, "jwks.json", published.Data[signing.KeySetFile])
			token := w.sign(t, k)
			w.passes(t, token)
			claims, err := node.Node(t, "verify.mjs", "jwks.json", k.Issuer(), audience, token)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(claims, fmt.Sprintf(`"sub":%q`, subject)) {
				t.Errorf("got claims %s, want those of %s", claims, subject)
			}
			if claims, err := node.Node(t, "verify.mjs", "jwks.json", k.Issuer(), "another", token); err == nil {
				t.Errorf("got claims %s for another audience, want an error", claims)
			}
		})
	}
	t.Run("jose verifies what the token service signs", func(t *testing.T) { w.verifyTokenService(t, node) })
}

// sign signs as the token service does, with the ring that it mounts.
func (w *world) sign(t *testing.T, k key) string {
	t.Helper()
	var secret corev1.Secret
	if err := w.Kube.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: k.Name() + "-signing"}, &secret); err != nil {
		t.Fatal(err)
	}
	ring, err := signing.ParseRing(secret.Data[signing.RingFile])
	if err != nil {
		t.Fatal(err)
	}
	active, ok := ring.Active()
	if !ok {
		t.Fatal("no key of the ring is active")
	}
	now := time.Now()
	claims, err := json.Marshal(map[string]any{"iss": k.Issuer(), "aud": audience, "sub": subject, "iat": now.Unix(), "exp": now.Add(time.Minute).Unix()})
	if err != nil {
		t.Fatal(err)
	}
	token, err := active.Sign("at+jwt", claims)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// verifyTokenService signs in at a real token service, and has jose verify the token by the set that its SigningKey has published.
func (w *world) verifyTokenService(t *testing.T, node *npm.Project) {
	body := strings.NewReader(`{"username":"alice","password":"wonderland"}`)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+w.app+"/auth/login", body)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var answer struct {
		Token string `json:"access_token"`
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("got status %d and error %v, want to be signed in", response.StatusCode, err)
	}
	w.passes(t, answer.Token)
	var published corev1.ConfigMap
	if err := w.Kube.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: "es256-jwks"}, &published); err != nil {
		t.Fatal(err)
	}
	node.Write(t, "jwks.json", published.Data[signing.KeySetFile])
	if claims, err := node.Node(t, "verify.mjs", "jwks.json", "https://auth.example.com", audience, answer.Token); err != nil {
		t.Errorf("got %s and error %v, want claims", claims, err)
	}
}
