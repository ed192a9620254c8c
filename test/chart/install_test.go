package chart_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/test/controlplane"
	"github.com/latchkey-dev/latchkey/test/installation"
)

// patience bounds every wait; nothing waits for it to pass.
const patience = time.Minute

// previous is the last chart that was released, as Helm packed it.
const previous = "test/chart/testdata/latchkey-0.1.0.tgz"

// cluster is an API server without anything of Latchkey's, and where Helm finds it.
type cluster struct {
	client.Client
	discovery  *discovery.DiscoveryClient
	kubeconfig string
}

func start(t *testing.T) *cluster {
	t.Helper()
	running, err := controlplane.StartEmpty()
	must(t, err)
	t.Cleanup(func() { must(t, running.Stop()) })
	c := &cluster{kubeconfig: filepath.Join(t.TempDir(), "kubeconfig")}
	must(t, os.WriteFile(c.kubeconfig, running.Kubeconfig(), 0o600))
	running.Config.WarningHandler = rest.NoWarnings{} // of kinds that are deprecated, which only the listing reads
	running.Config.QPS = -1                           // tests wait for nobody
	c.Client, err = installation.Client(running.Config)
	must(t, err)
	c.discovery, err = discovery.NewDiscoveryClientForConfig(running.Config)
	must(t, err)
	return c
}

// helm runs helm on the cluster, for the release latchkey.
func (c *cluster) helm(t *testing.T, command string, args ...string) string {
	t.Helper()
	printed, err := helm(t, append([]string{command, "latchkey", "--namespace", system, "--kubeconfig", c.kubeconfig}, args...)...)
	must(t, err)
	return string(printed)
}

// all lists what the API server keeps, as "Kind namespace/name", but for what comes and goes by itself.
func (c *cluster) all(t *testing.T) []string {
	t.Helper()
	lists, err := c.discovery.ServerPreferredResources()
	must(t, err)
	var found []string
	for _, list := range lists {
		for _, resource := range list.APIResources {
			if !slices.Contains(resource.Verbs, "list") || slices.Contains([]string{"Event", "Lease", "APIService", "IPAddress"}, resource.Kind) {
				continue
			}
			objects := &unstructured.UnstructuredList{}
			objects.SetAPIVersion(list.GroupVersion)
			objects.SetKind(resource.Kind + "List")
			must(t, c.List(t.Context(), objects))
			for _, object := range objects.Items {
				found = append(found, fmt.Sprintf("%s %s/%s", object.GetKind(), object.GetNamespace(), object.GetName()))
			}
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

func TestWhatIsInstalledIsTakenByTheAPIServerAndLeavesWithTheRelease(t *testing.T) {
	t.Parallel()
	c := start(t)
	before := c.all(t)

	c.helm(t, "install", chart, "--create-namespace", "--dry-run=server")
	c.helm(t, "install", chart, "--create-namespace")
	for _, name := range []string{"latchkey-sidecar-pod", "latchkey-sidecar-namespace"} {
		must(t, c.Get(t.Context(), client.ObjectKey{Name: name}, &admissionregistrationv1.ValidatingAdmissionPolicyBinding{}))
	}
	// With most of what can be asked for; a PodMonitor's kind is not there.
	c.helm(t, "upgrade", chart, "--set", "manager.replicas=3,manager.podLabels.team=auth,monitoring.dashboards.enabled=true,image.pullSecrets[0].name=a")
	var deployment appsv1.Deployment
	must(t, c.Get(t.Context(), client.ObjectKey{Namespace: system, Name: "latchkey-manager"}, &deployment))
	if got, want := *deployment.Spec.Replicas, int32(3); got != want {
		t.Errorf("got %d replicas, want %d", got, want)
	}

	c.helm(t, "uninstall")
	var left []string
	eventually(t, func(context.Context) error {
		left = slices.DeleteFunc(c.all(t), func(object string) bool { return slices.Contains(before, object) })
		if diff := cmp.Diff(left, stays); diff != "" {
			return fmt.Errorf("left behind (-got +want):\n%s", diff)
		}
		return nil
	})

	c.helm(t, "install", chart) // once more, over what has stayed
}

// stays is what docs/operations.md says, but for what the managers make: none runs here.
var stays = []string{
	"CustomResourceDefinition /authpolicies.auth.latchkey.dev", "CustomResourceDefinition /signingkeys.auth.latchkey.dev",
	"CustomResourceDefinition /tokenissuers.auth.latchkey.dev",
	"Namespace /latchkey-system",
}

func TestAnUpgradeFromThePreviousChartKeepsObjectsAndTrust(t *testing.T) {
	t.Parallel()
	c := start(t)
	c.helm(t, "install", previous, "--create-namespace")
	key := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "auth.latchkey.dev/v1alpha1", "kind": "SigningKey", "metadata": map[string]any{"namespace": "default", "name": "kept"},
		"spec": map[string]any{},
	}}
	eventually(t, func(ctx context.Context) error { return c.Create(ctx, key) })
	uid := key.GetUID()
	c.trust(t)

	// What the previous chart's kinds lacked, an upgrade must bring.
	for _, name := range kinds {
		must(t, c.Patch(t.Context(), crd(name), client.RawPatch(types.JSONPatchType, []byte(`[{"op":"remove","path":"/spec/versions/0/additionalPrinterColumns"}]`))))
	}
	c.helm(t, "upgrade", chart, "--take-ownership", "--force-conflicts")
	for _, name := range kinds {
		installed := crd(name)
		must(t, c.Get(t.Context(), client.ObjectKey{Name: name}, installed))
		plural, _, _ := strings.Cut(name, ".")
		want := map[string]any{}
		text, err := os.ReadFile(filepath.Join(controlplane.Root(), "config", "crd", "auth.latchkey.dev_"+plural+".yaml"))
		must(t, err)
		addObjects(t, want, text)
		if diff := cmp.Diff(versions(t, installed.Object), versions(t, want["CustomResourceDefinition/"+name].(map[string]any))); diff != "" {
			t.Errorf("%s after the upgrade (-got +want):\n%s", name, diff)
		}
	}
	must(t, c.Get(t.Context(), client.ObjectKeyFromObject(key), key))
	if got := key.GetUID(); got != uid {
		t.Errorf("the SigningKey is %s, want the one from before, %s", got, uid)
	}
	c.trusted(t)

	c.helm(t, "upgrade", chart) // from now on without a word more
	c.trusted(t)
	c.helm(t, "rollback", "1") // to the previous chart, whose release never held the kinds
	must(t, c.Get(t.Context(), client.ObjectKeyFromObject(key), key))
	c.helm(t, "uninstall")
	must(t, c.Get(t.Context(), client.ObjectKeyFromObject(key), key))
}

// versions are those of a kind, with numbers of one type.
func versions(t *testing.T, crd map[string]any) (all any) {
	t.Helper()
	found, _, err := unstructured.NestedSlice(crd, "spec", "versions")
	must(t, err)
	text, err := json.Marshal(found)
	must(t, err)
	must(t, json.Unmarshal(text, &all))
	return all
}

// trust writes what the manager that leads would.
func (c *cluster) trust(t *testing.T) {
	t.Helper()
	var webhook admissionregistrationv1.MutatingWebhookConfiguration
	must(t, c.Get(t.Context(), client.ObjectKey{Name: "latchkey"}, &webhook))
	before := webhook.DeepCopy()
	for i := range webhook.Webhooks {
		webhook.Webhooks[i].ClientConfig.CABundle = authority(t)
	}
	must(t, c.Patch(t.Context(), &webhook, client.StrategicMergeFrom(before)))
}

func (c *cluster) trusted(t *testing.T) {
	t.Helper()
	var webhook admissionregistrationv1.MutatingWebhookConfiguration
	must(t, c.Get(t.Context(), client.ObjectKey{Name: "latchkey"}, &webhook))
	for _, w := range webhook.Webhooks {
		if len(w.ClientConfig.CABundle) == 0 {
			t.Errorf("%s has lost its caBundle: until a manager leads, no pod that asks is let in", w.Name)
		}
	}
}
