package managerload

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/test/controlplane"
	"github.com/latchkey-dev/latchkey/test/guard"
	"github.com/latchkey-dev/latchkey/test/installation"
)

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard())
	os.Exit(guard.Main("managerload", m.Run))
}

// sizes are what the environment asks for, or those of a test among others.
func sizes(t *testing.T) (s size, rest time.Duration) {
	t.Helper()
	number := func(name string, otherwise, least int) int {
		text := os.Getenv(name)
		if text == "" {
			return otherwise
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < least || n > 60_000 {
			t.Fatalf("%s is %q, want a number from %d to 60000", name, text, least)
		}
		return n
	}
	s = size{namespaces: number("NAMESPACES", 3, 1)}
	s.signingKeys = number("SIGNING_KEYS", 9, 2*s.namespaces+1)
	s.policies = number("POLICIES", 50, 20)
	s.pods = number("PODS", 300, s.policies)
	return s, time.Duration(number("REST_SECONDS", 5, 1)) * time.Second
}

// quiet is how long a manager is to do nothing before it counts as at rest. It is longer than any pause that the manager makes while it is at work.
const quiet = 3 * time.Second

func TestOneChangeCausesOneWriteForEachPodConcernedAndNothingElse(t *testing.T) {
	ctx, _ := signal.NotifyContext(t.Context(), syscall.SIGTERM, syscall.SIGINT) // until the process ends
	s, rest := sizes(t)
	r := start(ctx, t, s)
	t.Logf("%s", s)

	r.begin(ctx)
	made := time.Now()
	must(t, r.world.build(ctx))
	r.settle(ctx, "everything is made", made)

	r.restart(ctx)
	r.rest(ctx, rest)

	small := r.world.policies - 1
	for _, policy := range []int{small, big} {
		r.change(ctx, fmt.Sprintf("an edit of a policy with %d pods", s.podsOf(policy)), expected{policies: r.world.named(policy)}, func() error {
			return r.edit(ctx, policy)
		})
	}
	r.change(ctx, "a key is revoked that policies share", r.expectRevocation(), func() error { return r.revoke(ctx) })
	r.failover(ctx, small)
}

// run is a manager among many objects, and what is known of them.
type run struct {
	t       *testing.T
	world   *world
	audit   *audit
	dir     string
	start   func() *manager // another manager
	standby func() *manager // one that the API server does not ask
	manager *manager
}

func start(ctx context.Context, t *testing.T, s size) *run {
	t.Helper()
	dir, err := filepath.Abs(t.ArtifactDir())
	must(t, err)
	must(t, installation.Build(ctx, dir, "latchkey-manager"))
	policy, err := filepath.Abs("testdata/audit.yaml")
	must(t, err)
	r := &run{t: t, dir: dir, audit: &audit{path: filepath.Join(dir, "audit.log")}}
	cluster, err := controlplane.StartAudited(policy, r.audit.path)
	must(t, err)
	t.Cleanup(func() { must(t, cluster.Stop()) })
	config := *cluster.Config
	config.QPS = -1
	kube, err := installation.Client(&config)
	must(t, err)
	_, err = installation.Install(ctx, kube)
	must(t, err)
	kubeconfig := filepath.Join(dir, "kubeconfig")
	must(t, installation.WriteKubeconfig(ctx, kube, cluster.Config, kubeconfig))
	address, err := installation.WebhookAddress(ctx, kube)
	must(t, err)
	pods, err := newStandIns(ctx, kube)
	must(t, err)
	t.Cleanup(func() { must(t, pods.stop()) })
	r.world = &world{size: s, kube: kube, pods: pods}

	managers := 0
	launch := func(address string) *manager {
		managers++
		m, err := startManager(filepath.Join(dir, "latchkey-manager"), kubeconfig, address, filepath.Join(dir, fmt.Sprintf("manager-%d.log", managers)), os.Getenv("PROFILE") != "")
		must(t, err)
		t.Cleanup(m.kill)
		return m
	}
	r.start = func() *manager { return launch(address) }
	r.standby = func() *manager {
		free, err := freeAddress()
		must(t, err)
		return launch(free)
	}
	return r
}

// begin starts the first manager.
func (r *run) begin(ctx context.Context) {
	r.manager = r.start()
	must(r.t, await(ctx, "the manager", r.manager.ready))
}

// settle waits until the manager is at rest: every policy is ready and every pod in step, and it asks nobody anything. It returns when that began.
func (r *run) settle(ctx context.Context, what string, since time.Time) time.Time {
	r.t.Helper()
	must(r.t, await(ctx, what, r.world.policiesReady))
	var last time.Time
	must(r.t, await(ctx, what, func(context.Context) (bool, string) {
		if err := r.audit.read(); err != nil {
			return false, err.Error()
		}
		last = r.audit.last(since)
		if asked := r.world.pods.lastAsked(); asked.After(last) {
			last = asked
		}
		return time.Since(last) > quiet, "the manager is at work"
	}))
	return last
}

// restart starts another manager in the place of the first, with everything there already.
func (r *run) restart(ctx context.Context) {
	before := r.usage()
	r.t.Logf("%-40s %3d MB, at most %3d", "the manager that saw it being made", before.rss, before.peak)
	r.manager.stop()
	began := time.Now()
	r.manager = r.start()
	must(r.t, await(ctx, "the next manager", r.manager.ready))
	profiled := make(chan error, 1)
	go func() { profiled <- r.manager.keepProfile("profile?seconds=30", filepath.Join(r.dir, "start.cpu")) }()
	ready := time.Since(began)
	// It leads and asks every pod once: when all have been asked, there is no more to wait for.
	must(r.t, await(ctx, "all pods to be asked", func(context.Context) (bool, string) { return r.world.pods.askedSince(began) }))
	steady := r.settle(ctx, "the next manager to be at rest", began).Sub(began)
	used := r.usage()
	must(r.t, <-profiled)
	must(r.t, r.manager.keepProfile("heap", filepath.Join(r.dir, "start.heap")))
	requests := r.audit.since(began)
	r.t.Logf("%-40s %3d MB, at most %3d; ready after %.1f s, at rest after %.1f s and %.1f s of CPU; reads: %s", "a start with everything there",
		used.rss, used.peak, ready.Seconds(), steady.Seconds(), used.cpu.Seconds(), tally(requests, func(r request) bool { return !r.writes() }))
	r.wantNoWrites("a start with everything there", requests)
}

// rest watches the manager do nothing.
func (r *run) rest(ctx context.Context, length time.Duration) {
	began, before := time.Now(), r.usage()
	select {
	case <-ctx.Done():
	case <-time.After(length):
	}
	after := r.usage()
	must(r.t, r.audit.read())
	requests := r.audit.since(began)
	r.t.Logf("%-40s %3d MB; %.0f ms of CPU a minute; requests in %s: %s", "at rest", after.rss,
		float64((after.cpu-before.cpu).Milliseconds())/length.Minutes(), length, tally(requests, func(request) bool { return true }))
	r.wantNoWrites("a manager at rest", requests)
}

func (r *run) wantNoWrites(who string, requests []request) {
	r.t.Helper()
	if got := tally(requests, request.writes); got != "none" {
		r.t.Errorf("%s writes %s, want nothing", who, got)
	}
}

// change makes one change, waits until it is in force everywhere, and judges what the manager wrote for it.
func (r *run) change(ctx context.Context, what string, want expected, do func() error) {
	before, err := r.world.pods.snapshot()
	must(r.t, err)
	used, began := r.usage(), time.Now()
	must(r.t, do())
	changed := time.Now()
	o := r.judge(ctx, what, want, before, began)
	r.t.Logf("%-40s %4d pods: %d pokes, %d repeated, the last %.2f s after the change; %d bundles, %d statuses, %d reads; %.2f s of CPU", what,
		o.pods, o.pokes, o.repeats, o.last.Sub(changed).Seconds(), o.bundles, o.statuses, o.reads, (r.usage().cpu - used.cpu).Seconds())
}

func (r *run) judge(ctx context.Context, what string, want expected, before map[types.NamespacedName]standIn, began time.Time) outcome {
	var after map[types.NamespacedName]standIn
	must(r.t, await(ctx, what, func(context.Context) (bool, string) {
		var err error
		after, err = r.world.pods.snapshot()
		must(r.t, err)
		for name, pod := range after {
			if want.policies[pod.policy] && (pod.applied == before[name].applied || pod.answered.IsZero()) {
				return false, fmt.Sprintf("pod %s has not reported the change", name)
			}
		}
		return true, ""
	}))
	r.settle(ctx, what, began)
	after, err := r.world.pods.snapshot()
	must(r.t, err)
	o, faults := judge(r.audit.since(began), want, before, after)
	for i, fault := range faults {
		if i == 20 {
			r.t.Errorf("%s: and %d more", what, len(faults)-i)
			break
		}
		r.t.Errorf("%s: %s", what, fault)
	}
	return o
}

// edit changes the rules of a policy.
func (r *run) edit(ctx context.Context, policy int) error {
	named := r.world.policy(policy)
	object := &v1alpha1.AuthPolicy{}
	if err := r.world.kube.Get(ctx, client.ObjectKey{Namespace: named.Namespace, Name: named.Name}, object); err != nil {
		return err
	}
	object.Spec.Rules[1].Claims[0].AnyOf = append(object.Spec.Rules[1].Claims[0].AnyOf, "operator-"+strconv.Itoa(len(object.Spec.Rules[1].Claims[0].AnyOf)))
	return r.world.kube.Update(ctx, object)
}

// revoke withdraws the key by which the first SigningKey signs.
func (r *run) revoke(ctx context.Context) error {
	named := r.world.key(0)
	key := &v1alpha1.SigningKey{}
	if err := r.world.kube.Get(ctx, client.ObjectKey{Namespace: named.Namespace, Name: named.Name}, key); err != nil {
		return err
	}
	key.Spec.RevokedKeyIDs = append(key.Spec.RevokedKeyIDs, key.Status.ActiveKeyID)
	return r.world.kube.Update(ctx, key)
}

func (r *run) expectRevocation() expected {
	key := r.world.key(0)
	whole := key.Namespace + "/" + key.Name
	return expected{
		policies: r.world.named(r.world.sharers()...),
		once:     []string{"update secrets " + whole + "-signing", "patch configmaps " + whole + "-jwks"},
		status:   []string{"signingkeys " + whole},
	}
}

// failover kills the manager that leads, while another waits, and changes a policy at once.
func (r *run) failover(ctx context.Context, policy int) {
	standby := r.standby()
	must(r.t, await(ctx, "the second manager", standby.ready))
	r.settle(ctx, "two managers", time.Now().Add(-quiet))
	waiting, err := standby.usage()
	must(r.t, err)
	before, err := r.world.pods.snapshot()
	must(r.t, err)
	r.manager.kill()
	killed := time.Now()
	r.manager = standby
	must(r.t, r.edit(ctx, policy))
	o := r.judge(ctx, "an edit while nobody leads", expected{policies: r.world.named(policy)}, before, killed)
	r.t.Logf("%-40s %3d MB, at most %3d; after the leader was killed, %.1f s until a policy's %d pods were poked, then %d MB, at most %d", "a manager that waits",
		waiting.rss, waiting.peak, o.last.Sub(killed).Seconds(), o.pods, r.usage().rss, r.usage().peak)
}

func (r *run) usage() usage {
	r.t.Helper()
	used, err := r.manager.usage()
	must(r.t, err)
	return used
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
