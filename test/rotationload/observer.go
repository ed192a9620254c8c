package rotationload

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/signing"
)

const (
	namespace = "load"
	// sessions and login are the SigningKeys: that of the token service, and that of a login server of one's own.
	sessions = "sessions"
	login    = "login"
)

// observer reads what everybody can know.
type observer struct {
	kube   client.Client
	record *record
	rings  map[string]*atomic.Pointer[signing.Ring]
}

func newObserver(kube client.Client, record *record) *observer {
	return &observer{kube: kube, record: record, rings: map[string]*atomic.Pointer[signing.Ring]{sessions: {}, login: {}}}
}

// watch reads the objects of a SigningKey over and over. While the API is away there is nothing to be read: what was published before holds.
func (o *observer) watch(ctx context.Context, name string) {
	for wait(ctx, 200*time.Millisecond) {
		reading, cancel := context.WithTimeout(ctx, 2*time.Second)
		err := o.look(reading, name)
		cancel()
		if err != nil && ctx.Err() == nil {
			o.record.mu.Lock()
			o.record.outages++
			o.record.mu.Unlock()
		}
	}
}

// look reads the objects once.
func (o *observer) look(ctx context.Context, name string) error {
	var published corev1.ConfigMap
	if err := o.kube.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name + "-jwks"}, &published); err != nil {
		return err
	}
	var set struct {
		Keys []struct {
			Kid string
			Exp int64
		}
	}
	if err := json.Unmarshal([]byte(published.Data[signing.KeySetFile]), &set); err != nil {
		return err
	}
	for _, key := range set.Keys {
		if key.Exp != 0 {
			o.record.end(key.Kid, time.Unix(key.Exp, 0))
		}
	}

	var secret corev1.Secret
	if err := o.kube.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name + "-signing"}, &secret); err != nil {
		return err
	}
	ring, err := signing.ParseRing(secret.Data[signing.RingFile])
	if err != nil {
		return err
	}
	o.rings[name].Store(ring)
	o.record.signs(name, string(secret.Data[signing.KeyIDFile]))

	var key v1alpha1.SigningKey
	if err := o.kube.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &key); err != nil {
		return err
	}
	if acknowledged := apimeta.FindStatusCondition(key.Status.Conditions, "Acknowledged"); acknowledged != nil && acknowledged.Status == metav1.ConditionFalse {
		o.record.fails("SigningKey %s: %s", name, acknowledged.Message)
	}
	return nil
}

// ask asks a sidecar all the time which keys it holds.
func (o *observer) ask(ctx context.Context, sidecar int, admin string) {
	asker := &http.Client{Timeout: patience}
	for wait(ctx, 50*time.Millisecond) {
		asked := time.Now()
		kids, err := applied(ctx, asker, admin)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			o.record.fails("sidecar %d: %v", sidecar, err)
		default:
			o.record.report(sidecar, asked, time.Now(), kids)
		}
	}
}

func applied(ctx context.Context, asker *http.Client, admin string) ([]string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+admin+"/applied", nil)
	if err != nil {
		return nil, err
	}
	response, err := asker.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("/applied answers %s", response.Status)
	}
	var state struct{ KeyIDs []string }
	return state.KeyIDs, json.NewDecoder(response.Body).Decode(&state)
}
