package signingkey_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/controllers/signingkey"
	"github.com/latchkey-dev/latchkey/internal/rotation"
	"github.com/latchkey-dev/latchkey/test/controllertest"
)

// history is a bench to which anything happens, and what was signed meanwhile.
type history struct {
	*bench
	random  *rand.Rand
	other   *signingkey.Reconciler // the second manager
	tokens  []signedToken
	backups []map[string][]byte
	revoked []string
	story   []string
}

type signedToken struct {
	keyID    string
	at       time.Time
	verifies func() bool
}

// TestAnythingMayHappenToAKey runs long random histories on a real API server: edits of the spec, revocations, a clock that jumps both ways, managers that are
// killed between any two writes, two managers at once, and Secrets that are lost, put back and edited. Whatever happens, once a manager has
// come to its end, one key signs, what is published is the ring's, nothing more is written, and a token is taken exactly as long as it should be.
func TestAnythingMayHappenToAKey(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			h := &history{bench: newBench(t, v1alpha1.SigningKeySpec{}), random: rand.New(rand.NewPCG(seed, 0))}
			client, _ := controllertest.Client(t, controllertest.Config())
			h.other = &signingkey.Reconciler{Client: client, Live: client, Clock: h.clock, Events: events.NewFakeRecorder(10_000)}
			h.events = events.NewFakeRecorder(10_000)
			h.restart()
			h.reconcile()
			for range 40 {
				h.happen()
				h.comeToAnEnd()
				h.check()
				if t.Failed() {
					t.Fatalf("after:\n%s", strings.Join(h.story, "\n"))
				}
				h.sign()
			}
		})
	}
}

func (h *history) say(format string, args ...any) {
	h.story = append(h.story, h.clock.Now().Format("01-02 15:04:05 ")+fmt.Sprintf(format, args...))
}

func (h *history) happen() {
	h.Helper()
	switch h.random.IntN(12) {
	case 0, 1, 2, 3:
		h.clock.SetTime(h.clock.Now().Add(time.Duration(h.random.IntN(60*3600)) * time.Second))
		h.say("time has passed")
	case 4:
		h.clock.SetTime(h.clock.Now().Add(-time.Duration(h.random.IntN(20*3600)) * time.Second))
		h.say("the clock went backwards")
		// By this clock they are from the future, and their key may end before they do.
		h.tokens = slices.DeleteFunc(h.tokens, func(token signedToken) bool { return token.at.After(h.clock.Now()) })
	case 5:
		algorithm := []v1alpha1.SigningAlgorithm{"ES256", "EdDSA", "Ed25519"}[h.random.IntN(3)]
		lead := time.Duration(1+h.random.IntN(20)) * time.Hour
		h.say("algorithm %s, publishLead %s", algorithm, lead)
		h.edit(func(spec *v1alpha1.SigningKeySpec) { spec.Algorithm, spec.PublishLead.Duration = algorithm, lead })
	case 6:
		ring := h.ring().Rotation()
		id := ring[h.random.IntN(len(ring))].ID
		h.revoked = append(h.revoked, id)
		h.say("%s is revoked", id)
		h.edit(func(spec *v1alpha1.SigningKeySpec) { spec.RevokedKeyIDs = h.revoked })
	case 7:
		h.say("the Secret is lost")
		h.lose()
	case 8:
		if len(h.backups) > 0 {
			h.say("a backup is restored")
			h.restore(h.backups[h.random.IntN(len(h.backups))])
		}
	case 9:
		h.say("a key is taken out by hand")
		h.change(func(keys []map[string]any) []map[string]any {
			if len(keys) == 1 {
				return keys
			}
			at := h.random.IntN(len(keys))
			return slices.Delete(keys, at, at+1)
		})
	case 10:
		h.say("the published set is damaged")
		configMap := h.configMap()
		configMap.Data = map[string]string{"jwks.json": "{}"}
		h.must(h.client.Update(context.Background(), configMap))
	case 11:
		h.backups = append(h.backups, h.backup())
		h.say("a backup is made")
	}
}

// comeToAnEnd lets managers work, kills one at some moment, and lets one finish.
func (h *history) comeToAnEnd() {
	h.Helper()
	switch h.random.IntN(3) {
	case 0:
		writes := h.random.IntN(4)
		h.say("a manager is killed after %d writes", writes)
		h.wire.CutAfter(writes)
		if _, err := h.reconciler.Reconcile(context.Background(), reconcile.Request{NamespacedName: h.key}); err != nil && !errors.Is(err, controllertest.ErrCut) {
			h.Errorf("got %v, want no error but of the wire", err)
		}
		h.wire.Mend()
		h.restart()
	case 1:
		h.say("two managers work at once")
		var race sync.WaitGroup
		for _, manager := range []*signingkey.Reconciler{h.reconciler, h.other} {
			race.Go(func() {
				if _, err := manager.Reconcile(context.Background(), reconcile.Request{NamespacedName: h.key}); err != nil {
					h.Errorf("got %v, want races to pass quietly", err)
				}
			})
		}
		race.Wait()
	}
	for range 5 { // conflicts are told to come again
		if h.reconcile().RequeueAfter != time.Second {
			break
		}
	}
}

func (h *history) check() {
	h.Helper()
	if got, want := h.condition("Ready").Reason, "Ready"; got != want {
		h.Errorf("got Ready for reason %s, want %s", got, want)
	}
	signing := 0
	for _, k := range h.ring().Rotation() {
		if k.Phase == rotation.Active {
			signing++
		}
		if slices.Contains(h.revoked, k.ID) {
			h.Errorf("%s is revoked and back", k.ID)
		}
	}
	if signing != 1 {
		h.Errorf("got %d keys that sign, want 1: %s", signing, h.phases())
	}
	h.inStep()
	h.settled()
	for _, token := range h.tokens {
		age := h.clock.Now().Sub(token.at)
		wanted := age < retain-2*time.Second // what is noted of times is in whole seconds
		if got := token.verifies(); slices.Contains(h.revoked, token.keyID) {
			if got {
				h.Errorf("got a token of the revoked key %s taken", token.keyID)
			}
		} else if wanted && !got {
			h.Errorf("got a token refused that %s signed %s ago", token.keyID, age)
		}
	}
	// Once a token has ended its key may be gone, and no clock that goes backwards brings it back.
	h.tokens = slices.DeleteFunc(h.tokens, func(token signedToken) bool { return h.clock.Now().Sub(token.at) >= retain-2*time.Second })
}

func (h *history) sign() {
	h.Helper()
	h.tokens = append(h.tokens, signedToken{keyID: h.active(), at: h.clock.Now(), verifies: h.bench.sign()})
}
