package localnode

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestTranslationReplacesWholeWordsOnly(t *testing.T) {
	local := translation{"/data": "/tmp/1", "/data/cache": "/tmp/2", "127.0.0.1": "127.78.0.2"}
	for in, want := range map[string]string{
		"--dir=/data":                     "--dir=/tmp/1",
		"--dir=/data/x":                   "--dir=/tmp/1/x",
		"/data/cache/y,/data":             "/tmp/2/y,/tmp/1",
		"/database":                       "/database",
		"/var/data":                       "/var/data",
		"http://127.0.0.1:8080/healthz":   "http://127.78.0.2:8080/healthz",
		"127.0.0.10":                      "127.0.0.10",
		"1127.0.0.1":                      "1127.0.0.1",
		"":                                "",
		"app=/data/file:ro 127.0.0.1,::1": "app=/tmp/1/file:ro 127.78.0.2,::1",
	} {
		if got := local.apply(in); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
}

func TestExpandFollowsTheRulesOfCommandAndArgs(t *testing.T) {
	env := map[string]string{"A": "1", "B": "$(A)"}
	for in, want := range map[string]string{
		"$(A)":       "1",
		"x$(A)y$(A)": "x1y1",
		"$(B)":       "$(A)", // what was put in is not expanded again
		"$$(A)":      "$(A)",
		"$$$(A)":     "$1",
		"$(C)":       "$(C)",
		"$(A":        "$(A",
		"$A $":       "$A $",
	} {
		if got := expand(in, env); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
}

func TestReplaceShowsAllOfTheOldOrAllOfTheNew(t *testing.T) {
	dir := t.TempDir()
	version := func(n int) files {
		text := []byte(fmt.Sprint(n))
		return files{"a": {text, 0o600}, "b/c": {text, 0o600}, fmt.Sprintf("only-%d", n%2): {text, 0o600}}
	}
	if err := replace(dir, version(0)); err != nil {
		t.Fatal(err)
	}
	stop, torn := make(chan struct{}), make(chan string, 1)
	go func() {
		defer close(torn)
		for {
			select {
			case <-stop:
				return
			default:
			}
			version, err := os.Readlink(filepath.Join(dir, dataLink))
			if err != nil {
				torn <- err.Error()
				return
			}
			seen := filepath.Join(dir, version)
			a, errA := os.ReadFile(filepath.Join(seen, "a"))
			c, errC := os.ReadFile(filepath.Join(seen, "b/c"))
			if errA == nil && errC == nil && string(a) != string(c) { // the version may be gone by now, but never mixed
				torn <- fmt.Sprintf("a holds %s and b/c %s", a, c)
				return
			}
		}
	}()
	for n := range 200 {
		if err := replace(dir, version(n)); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	if got := <-torn; got != "" {
		t.Errorf("a reader saw a mixture: %s", got)
	}
	var got []string
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if entry.Type() == os.ModeSymlink {
			got = append(got, entry.Name())
		}
	}
	if diff := cmp.Diff(got, []string{"..data", "a", "b", "only-1"}); diff != "" || len(entries) != 5 {
		t.Errorf("of %d entries the links are (-got +want):\n%s", len(entries), diff)
	}
}

func TestReplaceRefusesAPathThatLeavesTheVolume(t *testing.T) {
	for _, path := range []string{"../x", "/x", "a/../../x", "..data", ""} {
		if err := replace(t.TempDir(), files{path: {nil, 0o600}}); err == nil {
			t.Errorf("%q was written, want it refused", path)
		}
	}
}

func TestLastLines(t *testing.T) {
	for _, test := range []struct {
		text string
		n    int
		want string
	}{
		{"a\nb\nc\n", 2, "b\nc\n"},
		{"a\nb\nc", 1, "c"},
		{"a\n", 5, "a\n"},
		{"a\n", 0, ""},
		{"", 3, ""},
	} {
		if got := string(lastLines([]byte(test.text), test.n)); got != test.want {
			t.Errorf("the last %d lines of %q are %q, want %q", test.n, test.text, got, test.want)
		}
	}
}

func TestRoll(t *testing.T) {
	const recreate, rolling = appsv1.RecreateDeploymentStrategyType, appsv1.RollingUpdateDeploymentStrategyType
	pod := func(name, hash string, ready bool) corev1.Pod {
		p := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{appsv1.DefaultDeploymentUniqueLabelKey: hash}}}
		if ready {
			p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
		}
		return p
	}
	ending := pod("ending", "old", true)
	ending.DeletionTimestamp = new(metav1.Now())
	for _, test := range []struct {
		name     string
		strategy appsv1.DeploymentStrategyType
		replicas int32
		pods     []corev1.Pod
		create   int
		remove   []string
	}{
		{"makes what is missing", rolling, 2, []corev1.Pod{pod("a", "new", true)}, 1, nil},
		{"has nothing to do", rolling, 1, []corev1.Pod{pod("a", "new", true)}, 0, nil},
		{"makes new pods beside the old", rolling, 1, []corev1.Pod{pod("a", "old", true)}, 1, nil},
		{"keeps the old while the new are not ready", rolling, 1, []corev1.Pod{pod("a", "old", true), pod("b", "new", false)}, 0, nil},
		{"removes the old when the new are ready", rolling, 1, []corev1.Pod{pod("a", "old", true), pod("b", "new", true)}, 0, []string{"a"}},
		{"removes the old first when it recreates", recreate, 1, []corev1.Pod{pod("a", "old", true)}, 0, []string{"a"}},
		{"waits for the old to be gone when it recreates", recreate, 1, []corev1.Pod{ending}, 0, nil},
		{"replaces a pod that ends without waiting for it", rolling, 1, []corev1.Pod{ending}, 1, nil},
		{"removes what is too much, unready ones first", rolling, 1, []corev1.Pod{pod("a", "new", false), pod("b", "new", true)}, 0, []string{"a"}},
		{"removes everything when scaled to nothing", rolling, 0, []corev1.Pod{pod("a", "new", true), pod("b", "old", true)}, 0, []string{"a", "b"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := roll(test.replicas, test.strategy, "new", test.pods)
			var remove []string
			for _, pod := range got.remove {
				remove = append(remove, pod.Name)
			}
			if diff := cmp.Diff(remove, test.remove); diff != "" || got.create != test.create {
				t.Errorf("makes %d, want %d; removes (-got +want):\n%s", got.create, test.create, diff)
			}
		})
	}
}

func TestWatchCountsAsAKubeletDoes(t *testing.T) {
	type verdict struct {
		After   time.Duration
		Healthy bool
	}
	probe := &corev1.Probe{InitialDelaySeconds: 1, PeriodSeconds: 2, TimeoutSeconds: 1, SuccessThreshold: 1, FailureThreshold: 3}
	for _, test := range []struct {
		name    string
		healthy func(time.Duration) bool
		want    []verdict
	}{
		{"an app that is up at once", func(time.Duration) bool { return true }, []verdict{{time.Second, true}}},
		{"an app that never comes up", func(time.Duration) bool { return false }, []verdict{{5 * time.Second, false}}},
		{"an app that comes up late is noticed soon", func(at time.Duration) bool { return at > 3*time.Second }, []verdict{{3200 * time.Millisecond, true}}},
		{"one failure is no verdict", func(at time.Duration) bool { return at < 2*time.Second || at > 4*time.Second }, []verdict{{time.Second, true}}},
		{"three failures in a row are", func(at time.Duration) bool { return at < 2*time.Second || at > 8*time.Second },
			[]verdict{{time.Second, true}, {7 * time.Second, false}, {9 * time.Second, true}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				defer cancel()
				var got []verdict
				watch(ctx, probe, func(context.Context) error {
					if test.healthy(time.Since(began)) {
						return nil
					}
					return errors.New("down")
				}, func(healthy bool, _ error) { got = append(got, verdict{time.Since(began), healthy}) })
				if diff := cmp.Diff(got, test.want); diff != "" {
					t.Errorf("verdicts (-got +want):\n%s", diff)
				}
			})
		})
	}
}
