package controlplane

import (
	"errors"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func TestWhatIsRestartedHoldsWhatItHeld(t *testing.T) {
	cluster, err := Start()
	if err != nil {
		t.Fatal(err)
	}
	stop := func() {
		if failed := cluster.Stop(); failed != nil {
			t.Error(failed)
		}
	}
	t.Cleanup(func() { stop() })
	kube, err := client.New(cluster.Config, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	note := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "note"}, Data: map[string]string{"is": "kept"}}
	if err = kube.Create(t.Context(), note); err != nil {
		t.Fatal(err)
	}
	etcd, _, err := find("etcd", "--data-dir="+cluster.env.ControlPlane.Etcd.DataDir)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // what was restarted can be restarted again
		if err = errors.Join(cluster.RestartAPIServer(t.Context()), cluster.RestartEtcd(t.Context())); err != nil {
			t.Fatal(err)
		}
		note.Data = nil
		if err = kube.Get(t.Context(), client.ObjectKeyFromObject(note), note); err != nil || note.Data["is"] != "kept" {
			t.Fatalf("got %v and error %v, want what was written before the restart", note.Data, err)
		}
	}
	again, _, err := find("etcd", "--data-dir="+cluster.env.ControlPlane.Etcd.DataDir)
	if err != nil || again == etcd {
		t.Errorf("got etcd running as process %d and error %v, want another than %d", again, err, etcd)
	}
	stop()
	stop = func() {}
	if err := syscall.Kill(again, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("process %d after Stop: %v, want it gone", again, err)
	}
}
