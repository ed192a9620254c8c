package distribution

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/internal/filetree"
)

// wanted returns the hash of what each of the pod's Latchkey volumes should hold.
func (r *Reconciler) wanted(ctx context.Context, pod *corev1.Pod) (map[string]string, error) {
	wanted := map[string]string{}
	for _, volume := range volumes(pod) {
		hash, err := r.hash(ctx, pod.Namespace, volume)
		if err != nil {
			return nil, err
		}
		if hash != "" {
			wanted[volume.name] = hash
		}
	}
	return wanted, nil
}

// hash returns the hash of what a volume should hold, and "" where a source is missing that it needs. Many pods have the same volumes, and Secrets are
// read from the API server: what was read once is not read again until it changes. A change wakes all these pods at the same moment, and one of them reads
// for all.
func (r *Reconciler) hash(ctx context.Context, namespace string, v volume) (string, error) {
	known, err := r.versions(ctx, namespace, v)
	if err != nil {
		return "", err
	}
	name := fmt.Sprintf("%s %+v", namespace, v)
	hash, err, _ := r.reading.Do(name+" "+strings.Join(known, " "), func() (any, error) {
		if hash, found := r.hashes.get(name, known); found {
			return hash, nil
		}
		return r.read(ctx, namespace, name, v, known)
	})
	if err != nil {
		return "", err
	}
	return hash.(string), nil
}

// read is hash, of what is there now.
func (r *Reconciler) read(ctx context.Context, namespace, name string, v volume, known versions) (string, error) {
	contents, read := map[reference]map[string][]byte{}, versions{}
	for i, source := range v.sources {
		object := source.empty()
		if known[i] != "" {
			err := r.Client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: source.name}, object)
			if client.IgnoreNotFound(err) != nil {
				return "", err
			}
			if err == nil {
				contents[source.reference] = content(object)
			}
		}
		read = append(read, version(object))
	}
	hash := ""
	if files, ok := v.files(contents); ok {
		hash = filetree.Hash(files)
	}
	r.hashes.put(name, read, hash)
	return hash, nil
}

// versions name what the sources of a volume hold, in their order: "" for one that is not there.
type versions []string

// versions are those that are known: nobody is asked for them.
func (r *Reconciler) versions(ctx context.Context, namespace string, v volume) (versions, error) {
	var found versions
	for _, source := range v.sources {
		object := source.empty()
		reader := client.Reader(r.Client)
		if source.kind == kindSecret {
			metadata := &metav1.PartialObjectMetadata{}
			metadata.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind(kindSecret))
			object, reader = metadata, r.Known
		}
		err := reader.Get(ctx, client.ObjectKey{Namespace: namespace, Name: source.name}, object, client.UnsafeDisableDeepCopy)
		if client.IgnoreNotFound(err) != nil {
			return nil, err
		}
		found = append(found, version(object))
	}
	return found, nil
}

func version(object client.Object) string {
	if object.GetUID() == "" {
		return ""
	}
	return string(object.GetUID()) + "/" + object.GetResourceVersion()
}

func (r reference) empty() client.Object {
	if r.kind == kindSecret {
		return &corev1.Secret{}
	}
	return &corev1.ConfigMap{}
}

// content is what a ConfigMap or a Secret has for a volume.
func content(object client.Object) map[string][]byte {
	data := map[string][]byte{}
	switch object := object.(type) {
	case *corev1.Secret:
		maps.Copy(data, object.Data)
	case *corev1.ConfigMap:
		maps.Copy(data, object.BinaryData)
		for name, text := range object.Data {
			data[name] = []byte(text)
		}
	}
	return data
}

// mostHashes bounds how many are remembered. A cluster with more volumes than that, no two alike, reads some of its Secrets more than once.
const mostHashes = 20_000

// hashes remembers the hash of what a volume should hold, with the versions that it is of. The zero value is ready.
type hashes struct {
	mu    sync.Mutex
	known map[string]hashed
}

type hashed struct{ versions, hash string }

func (h *hashes) get(volume string, of versions) (hash string, found bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	known, found := h.known[volume]
	return known.hash, found && known.versions == strings.Join(of, " ")
}

func (h *hashes) put(volume string, of versions, hash string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.known == nil || len(h.known) >= mostHashes {
		h.known = map[string]hashed{}
	}
	h.known[volume] = hashed{strings.Join(of, " "), hash}
}
