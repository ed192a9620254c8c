package inject

import (
	"slices"
	"strconv"
	"strings"

	"gomodules.xyz/jsonpatch/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

// patch lists the operations (RFC 6902) that turn a pod into what Pod made of it. It names only what an injection changes. A general
// comparison would go by position in lists, and so move fields that this version of Kubernetes' types does not know from one container
// to the next.
func patch(before, after *corev1.Pod) []jsonpatch.Operation {
	if equality.Semantic.DeepEqual(before, after) {
		return nil
	}
	operations := labelPatch(before.Labels, after.Labels)
	// Probes first, while the positions are still those of before.
	operations = append(operations, probePatch("/spec/initContainers/", before.Spec.InitContainers, after.Spec.InitContainers)...)
	operations = append(operations, probePatch("/spec/containers/", before.Spec.Containers, after.Spec.Containers)...)

	sidecar, ours := after.Spec.InitContainers[:1], slices.Collect(func(yield func(corev1.Volume) bool) {
		for _, volume := range after.Spec.Volumes {
			if isOurs(volume) && !yield(volume) {
				return
			}
		}
	})
	operations = append(operations, listPatch("/spec/initContainers", "0", before.Spec.InitContainers, isSidecar, sidecar)...)
	return append(operations, listPatch("/spec/volumes", "-", before.Spec.Volumes, isOurs, ours)...)
}

func labelPatch(before, after map[string]string) []jsonpatch.Operation {
	if len(before) == 0 {
		return []jsonpatch.Operation{jsonpatch.NewOperation("add", "/metadata/labels", after)}
	}
	var operations []jsonpatch.Operation
	for _, label := range []string{v1alpha1.LabelPod, v1alpha1.LabelPolicy} {
		escaped := strings.NewReplacer("~", "~0", "/", "~1").Replace(label)
		operations = append(operations, jsonpatch.NewOperation("add", "/metadata/labels/"+escaped, after[label]))
	}
	return operations
}

func probePatch(list string, before, after []corev1.Container) []jsonpatch.Operation {
	var operations []jsonpatch.Operation
	for i := range before {
		at := slices.IndexFunc(after, func(c corev1.Container) bool { return c.Name == before[i].Name })
		if at < 0 || isSidecar(before[i]) {
			continue
		}
		was := map[string]*corev1.Probe{}
		for kind, probe := range probes(&before[i]) {
			was[kind] = probe
		}
		for kind, probe := range probes(&after[at]) {
			if !equality.Semantic.DeepEqual(probe, was[kind]) {
				path := list + strconv.Itoa(i) + "/" + kind + "Probe/httpGet"
				operations = append(operations, jsonpatch.NewOperation("replace", path, probe.HTTPGet))
			}
		}
	}
	return operations
}

// listPatch takes what is ours out of a list and puts it in anew at a position.
func listPatch[T any](list, position string, before []T, ours func(T) bool, items []T) []jsonpatch.Operation {
	if len(before) == 0 {
		return []jsonpatch.Operation{jsonpatch.NewOperation("add", list, items)} // the list may be absent, or null
	}
	var operations []jsonpatch.Operation
	for i, item := range slices.Backward(before) {
		if ours(item) {
			operations = append(operations, jsonpatch.NewOperation("remove", list+"/"+strconv.Itoa(i), nil))
		}
	}
	for _, item := range items {
		operations = append(operations, jsonpatch.NewOperation("add", list+"/"+position, item))
	}
	return operations
}
