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
	operations := mapPatch("/metadata/labels", before.Labels, after.Labels, v1alpha1.LabelPod, v1alpha1.LabelPolicy)
	operations = append(operations, mapPatch("/metadata/annotations", before.Annotations, after.Annotations, v1alpha1.AnnotationInterception)...)
	operations = append(operations, sysctlPatch(before.Spec.SecurityContext, after.Spec.SecurityContext)...)
	// Containers first, while the positions are still those of before.
	operations = append(operations, handlerPatch("/spec/initContainers/", before.Spec.InitContainers, after.Spec.InitContainers)...)
	operations = append(operations, handlerPatch("/spec/containers/", before.Spec.Containers, after.Spec.Containers)...)

	operations = append(operations, listPatch("/spec/initContainers", before.Spec.InitContainers, after.Spec.InitContainers, true, func(c corev1.Container) bool {
		return isSidecar(c) || isRedirector(c)
	})...)
	return append(operations, listPatch("/spec/volumes", before.Spec.Volumes, after.Spec.Volumes, false, isOurs)...)
}

func mapPatch(path string, before, after map[string]string, keys ...string) []jsonpatch.Operation {
	if len(before) == 0 {
		return []jsonpatch.Operation{jsonpatch.NewOperation("add", path, after)} // it may be absent, or null
	}
	var operations []jsonpatch.Operation
	for _, key := range keys {
		escaped := strings.NewReplacer("~", "~0", "/", "~1").Replace(key)
		operations = append(operations, jsonpatch.NewOperation("add", path+"/"+escaped, after[key]))
	}
	return operations
}

// sysctlPatch adds the one that an injection may have added, as the last.
func sysctlPatch(before, after *corev1.PodSecurityContext) []jsonpatch.Operation {
	const path = "/spec/securityContext"
	switch {
	case equality.Semantic.DeepEqual(before, after):
		return nil
	case before == nil:
		return []jsonpatch.Operation{jsonpatch.NewOperation("add", path, after)}
	case len(before.Sysctls) == 0:
		return []jsonpatch.Operation{jsonpatch.NewOperation("add", path+"/sysctls", after.Sysctls)}
	}
	return []jsonpatch.Operation{jsonpatch.NewOperation("add", path+"/sysctls/-", after.Sysctls[len(after.Sysctls)-1])}
}

// handlerPatch changes probes and hooks that have been redirected, and adds the wait before the end.
func handlerPatch(list string, before, after []corev1.Container) []jsonpatch.Operation {
	var operations []jsonpatch.Operation
	for i := range before {
		at := slices.IndexFunc(after, func(c corev1.Container) bool { return c.Name == before[i].Name })
		if at < 0 || isSidecar(before[i]) || isRedirector(before[i]) {
			continue
		}
		path := list + strconv.Itoa(i)
		then := map[string]question{}
		for _, q := range questions(&after[at]) {
			then[q.kind] = q
		}
		for _, q := range questions(&before[i]) {
			get := *then[q.kind].get
			if equality.Semantic.DeepEqual(*q.get, get) {
				continue
			}
			for handler, was := range map[string]bool{"tcpSocket": *q.socket != nil, "grpc": q.grpc != nil && *q.grpc != nil} {
				if was {
					operations = append(operations, jsonpatch.NewOperation("remove", path+q.path+"/"+handler, nil))
				}
			}
			operations = append(operations, jsonpatch.NewOperation("add", path+q.path+"/httpGet", get))
		}
		switch was, is := before[i].Lifecycle, after[at].Lifecycle; {
		case is == nil || is.PreStop == nil:
		case was == nil:
			operations = append(operations, jsonpatch.NewOperation("add", path+"/lifecycle", is))
		case was.PreStop == nil:
			operations = append(operations, jsonpatch.NewOperation("add", path+"/lifecycle/preStop", is.PreStop))
		}
	}
	return operations
}

// listPatch takes what is ours out of a list, and puts in what is ours afterwards: at the beginning or at the end.
func listPatch[T any](list string, before, after []T, first bool, ours func(T) bool) []jsonpatch.Operation {
	var items []T
	for _, item := range after {
		if ours(item) {
			items = append(items, item)
		}
	}
	if len(before) == 0 {
		return []jsonpatch.Operation{jsonpatch.NewOperation("add", list, items)} // the list may be absent, or null
	}
	var operations []jsonpatch.Operation
	for i, item := range slices.Backward(before) {
		if ours(item) {
			operations = append(operations, jsonpatch.NewOperation("remove", list+"/"+strconv.Itoa(i), nil))
		}
	}
	for i, item := range items {
		position := "-"
		if first {
			position = strconv.Itoa(i)
		}
		operations = append(operations, jsonpatch.NewOperation("add", list+"/"+position, item))
	}
	return operations
}
