package distribution

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
)

// volumePrefix begins the names of Latchkey's volumes.
const volumePrefix = "latchkey-"

const (
	kindConfigMap = "ConfigMap"
	kindSecret    = "Secret"
)

// reference names a ConfigMap or Secret of the pod's namespace.
type reference struct{ kind, name string }

// source is one object that a volume shows.
type source struct {
	reference
	items    []corev1.KeyToPath // none: every key under its own name
	optional bool
}

// volume is a volume of Latchkey's that shows ConfigMaps or Secrets.
type volume struct {
	name    string
	sources []source
}

func volumes(pod *corev1.Pod) []volume {
	var found []volume
	for i := range pod.Spec.Volumes {
		v := &pod.Spec.Volumes[i]
		if !strings.HasPrefix(v.Name, volumePrefix) {
			continue
		}
		if sources := sourcesOf(v); len(sources) > 0 {
			found = append(found, volume{name: v.Name, sources: sources})
		}
	}
	return found
}

func sourcesOf(v *corev1.Volume) []source {
	switch {
	case v.ConfigMap != nil:
		return []source{{reference{kindConfigMap, v.ConfigMap.Name}, v.ConfigMap.Items, ptr.Deref(v.ConfigMap.Optional, false)}}
	case v.Secret != nil:
		return []source{{reference{kindSecret, v.Secret.SecretName}, v.Secret.Items, ptr.Deref(v.Secret.Optional, false)}}
	case v.Projected != nil:
		var sources []source
		for _, p := range v.Projected.Sources {
			switch {
			case p.ConfigMap != nil:
				sources = append(sources, source{reference{kindConfigMap, p.ConfigMap.Name}, p.ConfigMap.Items, ptr.Deref(p.ConfigMap.Optional, false)})
			case p.Secret != nil:
				sources = append(sources, source{reference{kindSecret, p.Secret.Name}, p.Secret.Items, ptr.Deref(p.Secret.Optional, false)})
			}
		}
		return sources
	}
	return nil
}

// files are those that a kubelet would put into the volume. One that lacks a source it needs has none: its last files stay until the source is
// back.
func (v volume) files(contents map[reference]map[string][]byte) (map[string][]byte, bool) {
	files := map[string][]byte{}
	for _, s := range v.sources {
		data := contents[s.reference]
		if data == nil && !s.optional {
			return nil, false
		}
		if len(s.items) == 0 {
			maps.Copy(files, data) // where two sources have the same key, the later one wins
			continue
		}
		for _, item := range s.items {
			content, ok := data[item.Key]
			if !ok && !s.optional {
				return nil, false
			}
			if ok {
				files[item.Path] = content
			}
		}
	}
	return files, true
}

// digest names what all the volumes together should hold, short enough for an annotation.
func digest(wanted map[string]string) string {
	var all strings.Builder
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		all.WriteString(name + "=" + wanted[name] + "\n")
	}
	sum := sha256.Sum256([]byte(all.String()))
	return hex.EncodeToString(sum[:8])
}
