package rotationload

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/test/guard"
	"github.com/latchkey-dev/latchkey/test/installation"
)

func TestMain(m *testing.M) { os.Exit(guard.Main("rotationload", m.Run)) }

// length is how long the run takes, but for what it still has to see: MINUTES, or a little over one.
func length(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("MINUTES")
	if text == "" {
		return 70 * time.Second
	}
	minutes, err := strconv.ParseFloat(text, 64)
	if err != nil || minutes <= 0 || minutes > 120 { // every request is remembered
		t.Fatalf("MINUTES is %q, want a number of minutes, 120 at most", text)
	}
	return time.Duration(minutes * float64(time.Minute))
}

func TestRotationsUnderLoadRefuseNoValidTokenAndLetNoneOutliveItsTime(t *testing.T) {
	ctx, _ := signal.NotifyContext(t.Context(), syscall.SIGTERM, syscall.SIGINT) // until the process ends
	seed := uint64(time.Now().UnixNano())
	run := length(t)
	t.Logf("seed %d, %s", seed, run)

	i, sidecars := start(ctx, t)
	began := time.Now()
	record := newRecord(began)
	observer := newObserver(i.Kube, record)
	for name := range observer.rings {
		if err := observer.look(ctx, name); err != nil {
			t.Fatal(err)
		}
	}
	clients := newClients(sidecars.traffic, record)
	say := func(format string, args ...any) {
		t.Logf("%4.0fs %s", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
	}

	running, end := context.WithCancel(ctx)
	defer end()
	var everybody sync.WaitGroup
	for name := range observer.rings {
		everybody.Go(func() { observer.watch(running, name) })
	}
	for n, admin := range sidecars.admin {
		everybody.Go(func() { observer.ask(running, n, admin) })
	}
	for user := range users {
		everybody.Go(func() { clients.signIn(running, user) })
	}
	everybody.Go(func() { clients.signOwn(running, observer.rings[login].Load) })
	everybody.Go(func() { disturb(running, i, rand.New(rand.NewPCG(seed, 0)), record, say) })

	// What is not seen within the time may take two minutes more.
	missing := []string{"everything"}
	for now := range ticks(ctx, 5*time.Second) {
		missing = record.missing(now)
		say("%s", record.progress())
		if past := now.Sub(began); past > run && len(missing) == 0 || past > run+2*time.Minute {
			break
		}
	}
	end()
	everybody.Wait()
	clients.holders.Wait()
	if ctx.Err() != nil {
		t.Fatal("interrupted")
	}
	report := sum(record)
	t.Logf("after %s:\n%s", time.Since(began).Round(time.Second), report)
	if len(missing) > 0 {
		t.Errorf("the run proves nothing, for there was none of: %v", missing)
	}
	if report.faultCount > 0 {
		dump(t, i)
		t.Errorf("got %d faults, want none; what the processes printed is in %s", report.faultCount, i.LogDir)
	}
}

// dump keeps what the API knows, for whoever looks for the cause of a fault.
func dump(t *testing.T, i *installation.Installation) {
	t.Helper()
	for name, list := range map[string]client.ObjectList{
		"events": &eventsv1.EventList{}, "pods": &corev1.PodList{}, "signingkeys": &v1alpha1.SigningKeyList{}, "configmaps": &corev1.ConfigMapList{},
	} {
		err := i.Kube.List(context.WithoutCancel(t.Context()), list, client.InNamespace(namespace))
		text, unwritten := yaml.Marshal(list)
		if err = errors.Join(err, unwritten, os.WriteFile(filepath.Join(i.LogDir, name+".yaml"), text, 0o600)); err != nil {
			t.Log(err)
		}
	}
}

// sidecars are where the app's pods are reached, and asked.
type sidecars struct{ traffic, admin []string }

func start(ctx context.Context, t *testing.T) (*installation.Installation, sidecars) {
	t.Helper()
	dir, err := filepath.Abs(t.ArtifactDir())
	if err != nil {
		t.Fatal(err)
	}
	i, err := installation.Start(ctx, dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if failed := i.Stop(); failed != nil {
			t.Error(failed)
		}
	})
	text, err := os.ReadFile("testdata/world.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := installation.ApplyText(ctx, i.Kube, string(text)); err != nil {
		t.Fatal(err)
	}
	for _, deployment := range []string{"sessions-issuer", "app"} {
		if _, err := installation.Await(ctx, time.Minute, func() (bool, string) {
			return installation.DeploymentReady(ctx, i.Kube, client.ObjectKey{Namespace: namespace, Name: deployment})
		}); err != nil {
			t.Fatalf("Deployment %s: %v", deployment, err)
		}
	}
	var pods corev1.PodList
	if err := i.Kube.List(ctx, &pods, client.InNamespace(namespace), client.MatchingLabels{"app": "app"}); err != nil {
		t.Fatal(err)
	}
	var s sidecars
	for _, pod := range pods.Items {
		s.traffic = append(s.traffic, pod.Status.PodIP+":8080")
		s.admin = append(s.admin, pod.Status.PodIP+":15020")
	}
	return i, s
}

// ticks are those of a ticker, until ctx ends.
func ticks(ctx context.Context, period time.Duration) func(func(time.Time) bool) {
	return func(yield func(time.Time) bool) {
		for wait(ctx, period) && yield(time.Now()) {
		}
	}
}
