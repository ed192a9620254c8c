package rollout

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/test/guard"
	"github.com/latchkey-dev/latchkey/test/installation"
	"github.com/latchkey-dev/latchkey/test/servers"
)

func TestMain(m *testing.M) { os.Exit(guard.Main("rollout", m.Run)) }

const (
	namespace     = "rollout"
	refreshCookie = "__Secure-latchkey-refresh"
	// patience is how long a test waits for what must come, on a busy machine.
	patience = 2 * time.Minute
)

func TestATokenServiceIsRolledWithoutARefusal(t *testing.T) {
	redis := servers.StartRedis(t)
	i := start(t, redis.Database())
	people := &people{http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}, Timeout: 30 * time.Second}}
	var pods corev1.PodList
	check(t, i.Kube.List(t.Context(), &pods, client.InNamespace(namespace), client.MatchingLabels{"app": "app"}))
	for _, pod := range pods.Items {
		people.sidecars = append(people.sidecars, pod.Status.PodIP+":8080")
	}

	busy, rest := context.WithCancel(t.Context())
	defer rest()
	var everybody sync.WaitGroup
	// Everybody has a name of their own: sign-ins of one name at once would be taken for guesses.
	for n := range 14 {
		everybody.Go(func() {
			if n < 12 {
				people.stay(busy, n)
			} else {
				people.come(busy, n)
			}
		})
	}
	const rolls = 2
	for range rolls {
		roll(t, i)
	}
	rest()
	everybody.Wait()

	t.Logf("%d refreshes and %d sign-ins while every pod was replaced %d times", people.refreshes.Load(), people.logins.Load(), rolls)
	if people.refreshes.Load() < 100 || people.logins.Load() < 10 {
		t.Error("that is too little to prove anything")
	}
	for _, fault := range people.faults {
		t.Error(fault)
	}
}

// roll replaces every pod of the token service and waits until the old ones are gone.
func roll(t *testing.T, i *installation.Installation) {
	t.Helper()
	before := pods(t, i)
	deployment := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "sessions-issuer"}}
	// As kubectl rollout restart does.
	restart := fmt.Sprintf(`{"spec":{"template":{"metadata":{"annotations":{"kubectl.kubernetes.io/restartedAt":%q}}}}}`, time.Now().Format(time.RFC3339Nano))
	check(t, i.Kube.Patch(t.Context(), deployment, client.RawPatch("application/merge-patch+json", []byte(restart))))
	if _, err := installation.Await(t.Context(), patience, func() (bool, string) {
		now := pods(t, i)
		for name := range before {
			if now[name] {
				return false, name + " is still there"
			}
		}
		return installation.DeploymentReady(t.Context(), i.Kube, client.ObjectKeyFromObject(deployment))
	}); err != nil {
		t.Fatal(err)
	}
}

func pods(t *testing.T, i *installation.Installation) map[string]bool {
	t.Helper()
	var list corev1.PodList
	check(t, i.Kube.List(t.Context(), &list, client.InNamespace(namespace), client.MatchingLabels{"auth.latchkey.dev/tokenissuer": "sessions"}))
	names := map[string]bool{}
	for _, pod := range list.Items {
		names[pod.Name] = true
	}
	return names
}

func start(t *testing.T, store string) *installation.Installation {
	t.Helper()
	dir, err := filepath.Abs(t.ArtifactDir())
	check(t, err)
	i, err := installation.Start(t.Context(), dir)
	check(t, err)
	t.Cleanup(func() {
		if failed := i.Stop(); failed != nil {
			t.Error(failed)
		}
	})
	text, err := os.ReadFile("testdata/world.yaml")
	check(t, err)
	_, err = installation.ApplyText(t.Context(), i.Kube, string(text))
	check(t, err)
	check(t, i.Kube.Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "store"}, StringData: map[string]string{"url": store},
	}))
	for _, name := range []string{"sessions-issuer", "app"} {
		_, err := installation.Await(t.Context(), patience, func() (bool, string) {
			return installation.DeploymentReady(t.Context(), i.Kube, client.ObjectKey{Namespace: namespace, Name: name})
		})
		if err != nil {
			t.Fatalf("Deployment %s: %v", name, err)
		}
	}
	return i
}

// people are everybody who signs in and refreshes, by way of the sidecars.
type people struct {
	sidecars          []string
	http              *http.Client
	logins, refreshes atomic.Int64

	mu     sync.Mutex
	faults []string
}

// stay signs in once and refreshes until ctx ends.
func (p *people) stay(ctx context.Context, name int) {
	cookie := p.ask(ctx, name, 0, "/auth/login", "")
	for n := 1; cookie != ""; n++ {
		if cookie = p.ask(ctx, name, n, "/auth/refresh", cookie); cookie != "" {
			p.refreshes.Add(1)
		}
	}
}

// come signs in and out, as others do all the time, until ctx ends.
func (p *people) come(ctx context.Context, name int) {
	for n := 0; ctx.Err() == nil; n++ {
		cookie := p.ask(ctx, name, n, "/auth/login", "")
		if cookie == "" {
			return
		}
		p.logins.Add(1)
		p.ask(ctx, name, n, "/auth/logout", cookie)
	}
}

// ask returns the cookie that an answer sets; "" when ctx has ended, or the answer was none that people want to see.
func (p *people) ask(ctx context.Context, name, n int, route, cookie string) string {
	body := ""
	if cookie == "" {
		body = fmt.Sprintf(`{"username":"user-%d","password":"wonderland"}`, name)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+p.sidecars[n%len(p.sidecars)]+route, strings.NewReader(body))
	if err != nil {
		panic(err) // an address of digits
	}
	r.Header.Set("Content-Type", "application/json")
	if cookie != "" {
		r.Header.Set("Cookie", refreshCookie+"="+cookie)
	}
	answer, err := p.http.Do(r)
	if err == nil {
		var text []byte
		text, err = io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		if err == nil && answer.StatusCode >= http.StatusBadRequest {
			err = fmt.Errorf("%d %s", answer.StatusCode, text)
		}
	}
	if ctx.Err() != nil {
		return ""
	}
	if err != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.faults = append(p.faults, fmt.Sprintf("%s %s: %v", time.Now().Format(time.StampMilli), route, err))
		return ""
	}
	for _, c := range answer.Cookies() {
		if c.Name == refreshCookie {
			return c.Value
		}
	}
	return ""
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
