package managerload

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/bundle"
	"github.com/latchkey-dev/latchkey/internal/filetree"
)

// bundleVolume is the volume that sidecars report on.
const bundleVolume = "latchkey-bundle"

// standIns answer for the sidecars of all pods, each at its own address. Like a kubelet, they read a pod's files when the pod starts and when its
// annotation changes, and at no other time.
type standIns struct {
	kube      client.WithWatch
	server    *http.Server
	addresses *addresses

	mu     sync.Mutex
	byName map[types.NamespacedName]*standIn
	byIP   map[netip.Addr]*standIn
	counts map[types.NamespacedName]int // by policy
	failed error                        // what keeps them from doing their part
}

// standIn is one pod. What it holds is guarded by standIns.mu.
type standIn struct {
	policy  types.NamespacedName
	poked   string // its annotation
	applied string // the hash of its files
	keyIDs  []string
	// answered is when it first said that it has applied these files, and asked when it was asked last.
	answered, asked time.Time
}

func newStandIns(ctx context.Context, kube client.WithWatch) (*standIns, error) {
	taken, err := takeAddresses()
	if err != nil {
		return nil, err
	}
	s := &standIns{
		kube: kube, addresses: taken, byName: map[types.NamespacedName]*standIn{}, byIP: map[netip.Addr]*standIn{}, counts: map[types.NamespacedName]int{},
	}
	s.server = &http.Server{Handler: http.HandlerFunc(s.answer), ReadHeaderTimeout: time.Minute}
	poked := make(chan types.NamespacedName, 1<<16)
	go s.follow(ctx, poked)
	for range makers {
		go s.refresh(ctx, poked)
	}
	return s, nil
}

// start has a stand-in answer for a pod that was just made, with the files that are current, and returns its address.
func (s *standIns) start(ctx context.Context, pod *corev1.Pod) (netip.Addr, error) {
	p := &standIn{policy: types.NamespacedName{Namespace: pod.Namespace, Name: pod.Labels[v1alpha1.LabelPolicy]}}
	var err error
	if p.applied, p.keyIDs, err = s.read(ctx, p.policy); err != nil {
		return netip.Addr{}, err
	}
	s.mu.Lock()
	ip := s.addresses.of(len(s.byName) + 1)
	s.byName[client.ObjectKeyFromObject(pod)], s.byIP[ip] = p, p
	s.counts[p.policy]++
	s.mu.Unlock()
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(ip.String(), strconv.Itoa(adminPort)))
	if err != nil {
		return netip.Addr{}, fmt.Errorf("answer for a pod: %w", err)
	}
	go func() {
		if err := s.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			s.fail(err)
		}
	}()
	return ip, nil
}

func (s *standIns) stop() error { return errors.Join(s.server.Close(), s.addresses.taken.Close()) }

// answer is what a sidecar says on its admin port.
func (s *standIns) answer(w http.ResponseWriter, r *http.Request) {
	local, _ := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	s.mu.Lock()
	p := s.byIP[local.AddrPort().Addr()]
	report := map[string]any{"volumes": map[string]any{bundleVolume: map[string]string{"applied": p.applied}}, "keyIDs": p.keyIDs}
	p.asked = time.Now()
	if p.answered.IsZero() {
		p.answered = p.asked
	}
	s.mu.Unlock()
	_ = json.NewEncoder(w).Encode(report) // whoever asked may have gone
}

// follow notes which pods are poked. A watch may end at any time, and does where the API server has much to do.
func (s *standIns) follow(ctx context.Context, poked chan<- types.NamespacedName) {
	for ctx.Err() == nil {
		pods := &metav1.PartialObjectMetadataList{}
		pods.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("PodList"))
		if s.kube.List(ctx, pods, client.HasLabels{v1alpha1.LabelPod}) != nil {
			continue // the API server is away for a moment, or the run is over
		}
		for i := range pods.Items {
			s.note(&pods.Items[i], poked)
		}
		watching, err := s.kube.Watch(ctx, pods, client.HasLabels{v1alpha1.LabelPod}, &client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: pods.ResourceVersion}})
		if err != nil {
			continue
		}
		for event := range watching.ResultChan() {
			if pod, ok := event.Object.(*metav1.PartialObjectMetadata); ok {
				s.note(pod, poked)
			}
		}
	}
}

func (s *standIns) note(pod *metav1.PartialObjectMetadata, poked chan<- types.NamespacedName) {
	key, annotation := client.ObjectKeyFromObject(pod), pod.Annotations[v1alpha1.AnnotationVolumes]
	s.mu.Lock()
	p := s.byName[key]
	news := p != nil && p.poked != annotation
	if news {
		p.poked = annotation
	}
	s.mu.Unlock()
	if news {
		poked <- key
	}
}

// refresh reads the files of pods that were poked.
func (s *standIns) refresh(ctx context.Context, poked <-chan types.NamespacedName) {
	for {
		select {
		case <-ctx.Done():
			return
		case key := <-poked:
			s.mu.Lock()
			p := s.byName[key]
			s.mu.Unlock()
			hash, keyIDs, err := s.read(ctx, p.policy)
			if err != nil {
				s.fail(err)
				continue
			}
			s.mu.Lock()
			if p.applied != hash {
				p.applied, p.keyIDs, p.answered = hash, keyIDs, time.Time{}
			}
			s.mu.Unlock()
		}
	}
}

// read reads what a policy's pods mount, from the API server as a kubelet does.
func (s *standIns) read(ctx context.Context, policy types.NamespacedName) (hash string, keyIDs []string, err error) {
	key := types.NamespacedName{Namespace: policy.Namespace, Name: policy.Name + "-bundle"}
	var document []byte
	configMap, secret := &corev1.ConfigMap{}, &corev1.Secret{}
	switch err = s.kube.Get(ctx, key, configMap); {
	case err == nil:
		document = []byte(configMap.Data[bundle.FileName])
	case apierrors.IsNotFound(err):
		if err = s.kube.Get(ctx, key, secret); err != nil {
			return "", nil, err
		}
		document = secret.Data[bundle.FileName]
	default:
		return "", nil, err
	}
	var found struct {
		Issuers []struct {
			Keys struct {
				Keys []struct {
					KeyID string `json:"kid"`
				} `json:"keys"`
			} `json:"keys"`
		} `json:"issuers"`
	}
	if err = json.Unmarshal(document, &found); err != nil {
		return "", nil, err
	}
	for _, issuer := range found.Issuers {
		for _, key := range issuer.Keys.Keys {
			keyIDs = append(keyIDs, key.KeyID)
		}
	}
	return filetree.Hash(filetree.Tree{bundle.FileName: document}), keyIDs, nil
}

func (s *standIns) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed = errors.Join(s.failed, err)
}

// of is how many pods a policy has.
func (s *standIns) of(policy types.NamespacedName) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts[policy]
}

// snapshot is what each pod has applied, and since when it says so.
func (s *standIns) snapshot() (map[types.NamespacedName]standIn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := make(map[types.NamespacedName]standIn, len(s.byName))
	for name, p := range s.byName {
		now[name] = *p
	}
	return now, s.failed
}

// askedSince says whether every pod was asked after an instant.
func (s *standIns) askedSince(instant time.Time) (bool, string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	left := 0
	for _, p := range s.byName {
		if p.asked.Before(instant) {
			left++
		}
	}
	return left == 0, fmt.Sprintf("%d were not asked", left)
}

// lastAsked is when any pod was asked last.
func (s *standIns) lastAsked() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	var last time.Time
	for _, p := range s.byName {
		if p.asked.After(last) {
			last = p.asked
		}
	}
	return last
}
