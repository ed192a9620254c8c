package signingkey_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/base64url"
	"github.com/latchkey-dev/latchkey/internal/keyset"
	"github.com/latchkey-dev/latchkey/internal/signing"
)

// backup is the content of the Secret, to be restored later.
func (b *bench) backup() map[string][]byte { return b.secret("-signing").Data }

func (b *bench) restore(data map[string][]byte) {
	b.Helper()
	secret := b.secret("-signing")
	secret.Data = map[string][]byte{"ring.json": data["ring.json"]} // as the runbook has it
	b.must(b.client.Update(context.Background(), secret))
	b.wire.Writes()
}

func (b *bench) lose() {
	b.Helper()
	b.must(b.client.Delete(context.Background(), b.secret("-signing")))
	b.wire.Writes()
}

// change edits the stored ring by hand.
func (b *bench) change(edit func(keys []map[string]any) []map[string]any) {
	b.Helper()
	var document struct {
		Version int              `json:"version"`
		Serial  int64            `json:"serial"`
		Keys    []map[string]any `json:"keys"`
	}
	b.must(json.Unmarshal(b.secret("-signing").Data["ring.json"], &document))
	document.Keys = edit(document.Keys)
	text, err := json.Marshal(document)
	b.must(err)
	b.restore(map[string][]byte{"ring.json": text})
}

// sign makes a token with the key that signs, and returns what tells whether it verifies by the published set.
func (b *bench) sign() (verifies func() bool) {
	b.Helper()
	key, _ := b.ring().Active()
	token, err := key.Sign("", []byte(`{}`))
	b.must(err)
	return func() bool {
		b.Helper()
		last := strings.LastIndex(token, ".")
		signature, err := base64url.Decode(token[last+1:])
		b.must(err)
		public, ok := b.set().Lookup(key.ID())
		return ok && public.Verify([]byte(token[:last]), signature) == nil && (public.NotAfter().IsZero() || b.clock.Now().Before(public.NotAfter()))
	}
}

// set is what is published, wherever.
func (b *bench) set() *keyset.Set {
	b.Helper()
	if !strings.HasPrefix(string(b.object().Spec.Algorithm), "HS") {
		return b.published()
	}
	set, err := keyset.ParseSymmetric(b.secret("-jwks").Data["jwks.json"])
	b.must(err)
	return set
}

func (b *bench) intact() string {
	b.Helper()
	condition := b.condition(v1alpha1.ConditionIntact)
	return string(condition.Status) + " " + condition.Reason
}

func (b *bench) settled() {
	b.Helper()
	b.wire.Writes()
	b.reconcile()
	b.writesNothing()
}

func TestALostSecretRefusesNoTokenBeforeItsKeyEnds(t *testing.T) {
	for _, algorithm := range []v1alpha1.SigningAlgorithm{"ES256", "RS256", "Ed25519", "HS256"} {
		t.Run(string(algorithm), func(t *testing.T) {
			b := newBench(t, v1alpha1.SigningKeySpec{Algorithm: algorithm})
			b.publish()
			old := b.sign()
			b.step(publishLead)
			recent, lost := b.sign(), b.active()
			b.step(time.Hour)
			b.told()
			b.lose()
			b.reconcile()
			if got := b.active(); got == lost {
				t.Error("got the lost key signing, want a new one")
			}
			if diff := cmp.Diff(b.told(), []string{"KeysLost", "KeyActivated"}); diff != "" {
				t.Errorf("events (-got +want):\n%s", diff)
			}
			if !old() || !recent() {
				t.Errorf("got tokens refused that are valid: of the retiring key %v, of the active key %v", old(), recent())
			}
			if got, want := b.intact(), "False KeysLost"; algorithm != "HS256" && got != want {
				t.Errorf("got Intact %s, want %s", got, want)
			}
			b.settled()
			b.step(retain - time.Hour) // since the first key retired
			if old() {
				t.Error("got a token taken after the end of its key, which the loss must not put off")
			}
			if !recent() {
				t.Error("got a token refused before the end of its key")
			}
			b.step(time.Hour)
			if recent() {
				t.Error("got a token taken longer than retain after its key was lost")
			}
			if got, want := b.intact(), "True Intact"; got != want {
				t.Errorf("got Intact %s in the end, want %s", got, want)
			}
			b.settled()
		})
	}
}

func TestARevokedKeyIsNotKeptWhenItIsLost(t *testing.T) {
	b := newBench(t, v1alpha1.SigningKeySpec{})
	b.reconcile()
	token, lost := b.sign(), b.active()
	b.lose()
	b.edit(func(spec *v1alpha1.SigningKeySpec) { spec.RevokedKeyIDs = []string{lost} })
	b.reconcile()
	if token() {
		t.Error("got a token of a revoked key taken")
	}
	if got, want := b.intact(), "True Intact"; got != want {
		t.Errorf("got Intact %s, want %s", got, want)
	}
	if got := b.condition(v1alpha1.ConditionConsistent); got.Status != metav1.ConditionTrue {
		t.Errorf("got %s, want the revocation known", got.Message)
	}
}

func TestABackupFromBeforeARotationChangesNothing(t *testing.T) {
	b := newBench(t, v1alpha1.SigningKeySpec{})
	b.publish()
	backup := b.backup() // Active Pending
	old := b.sign()
	b.step(publishLead)
	recent, signs := b.sign(), b.active()
	b.step(time.Hour)
	b.told()
	b.restore(backup)
	b.reconcile()
	if got := b.active(); got != signs {
		t.Errorf("got key %s signing, want %s as before", got, signs)
	}
	if got, want := b.phases(), "Retiring Active"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if diff := cmp.Diff(b.told(), []string{"RingRestored"}); diff != "" {
		t.Errorf("events (-got +want):\n%s", diff)
	}
	if !old() || !recent() {
		t.Error("got tokens refused that are valid")
	}
	if got, want := b.condition(v1alpha1.ConditionAcknowledged).Reason, "NotObserved"; got != want {
		t.Errorf("got Acknowledged for reason %s, want %s", got, want)
	}
	b.settled()
}

func TestABackupFromLongAgoBringsNoOldKeyBack(t *testing.T) {
	b := newBench(t, v1alpha1.SigningKeySpec{})
	b.reconcile()
	backup, ancient := b.backup(), b.active()
	for range 3 {
		b.step(rotateEvery - publishLead)
		b.step(publishLead)
	}
	token, lost := b.sign(), b.active()
	b.told()
	b.restore(backup)
	b.reconcile()
	if got := b.active(); got == ancient || got == lost {
		t.Errorf("got key %s signing, want a new one", got)
	}
	if _, back := b.published().Lookup(ancient); back {
		t.Error("got a key back that had left")
	}
	if !token() {
		t.Error("got a token refused that is valid")
	}
	if diff := cmp.Diff(b.told(), []string{"KeysLost", "RingRestored", "KeyActivated"}); diff != "" {
		t.Errorf("events (-got +want):\n%s", diff)
	}
	b.settled()
}

func TestABackupBringsNoRevokedKeyBackEvenIfItIsListedNoMore(t *testing.T) {
	b := newBench(t, v1alpha1.SigningKeySpec{})
	b.reconcile()
	backup, revoked := b.backup(), b.active()
	b.edit(func(spec *v1alpha1.SigningKeySpec) { spec.RevokedKeyIDs = []string{revoked} })
	b.reconcile()
	b.edit(func(spec *v1alpha1.SigningKeySpec) { spec.RevokedKeyIDs = nil })
	b.reconcile()
	b.restore(backup)
	b.reconcile()
	if _, back := b.published().Lookup(revoked); back {
		t.Error("got a revoked key back")
	}
}

func TestARingThatIsEditedByHand(t *testing.T) {
	phase := func(key map[string]any) any { return key["phase"] }
	for _, test := range []struct {
		name  string
		edit  func([]map[string]any) []map[string]any
		want  string // phases
		ready string
		valid bool // tokens of the key that signed
		same  bool // the key that signed still does
	}{
		{
			name: "the key that signs is taken out", want: "Retiring Active", ready: "Ready", valid: true,
			edit: func(keys []map[string]any) []map[string]any {
				return slices.DeleteFunc(keys, func(k map[string]any) bool { return phase(k) == "Active" })
			},
		},
		{
			name: "the pending key is taken out", want: "Active Pending", ready: "Ready", valid: true, same: true,
			edit: func(keys []map[string]any) []map[string]any {
				return slices.DeleteFunc(keys, func(k map[string]any) bool { return phase(k) == "Pending" })
			},
		},
		{
			name: "the key that signs is set back", want: "Active Pending", ready: "Ready", valid: true, same: true,
			edit: func(keys []map[string]any) []map[string]any {
				keys[0]["phase"] = "Pending"
				delete(keys[0], "activatedAt")
				delete(keys[0], "activatedBy")
				return keys
			},
		},
		{
			name: "the key that signs is retired", want: "Retiring Active", ready: "Ready", valid: true,
			edit: func(keys []map[string]any) []map[string]any {
				keys[0]["phase"], keys[0]["retiredAt"] = "Retiring", start.Add(rotateEvery-publishLead)
				return keys
			},
		},
		{
			name: "two keys sign", ready: "Unreadable", valid: true, same: true,
			edit: func(keys []map[string]any) []map[string]any {
				keys[1]["phase"], keys[1]["activatedAt"], keys[1]["activatedBy"] = "Active", start, "Due"
				return keys
			},
		},
		{
			name: "a key is altered", ready: "Unreadable", valid: true, same: true,
			edit: func(keys []map[string]any) []map[string]any {
				keys[0]["jwk"].(map[string]any)["x"] = keys[1]["jwk"].(map[string]any)["x"]
				return keys
			},
		},
		{
			name: "there are more keys than verifiers take", ready: "Unreadable", valid: true, same: true,
			edit: func(keys []map[string]any) []map[string]any { return slices.Repeat(keys, 100) },
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t, v1alpha1.SigningKeySpec{})
			b.publish()
			token, signs := b.sign(), b.active()
			b.change(test.edit)
			b.reconcile()
			if got := b.condition("Ready").Reason; got != test.ready {
				t.Errorf("got Ready for reason %s, want %s", got, test.ready)
			}
			if got := token(); got != test.valid {
				t.Errorf("got a token of the key that signed taken: %v, want %v", got, test.valid)
			}
			if test.ready == "Ready" {
				if got := b.phases(); sorted(got) != sorted(test.want) {
					t.Errorf("got %s, want %s", got, test.want)
				}
				if got := b.active() == signs; got != test.same {
					t.Errorf("got the same key signing: %v, want %v", got, test.same)
				}
				b.inStep()
			}
			b.settled()
		})
	}
}

func sorted(words string) string {
	fields := strings.Fields(words)
	slices.Sort(fields)
	return strings.Join(fields, " ")
}

func TestAPublishedSetAloneMakesNoKeyTrusted(t *testing.T) {
	b := newBench(t, v1alpha1.SigningKeySpec{})
	b.reconcile()
	forged, err := signing.Generate("ES256", 0)
	b.must(err)
	lost := b.active()
	for _, alias := range []string{forged.ID(), lost} { // a key of their own, by its own name or by that of the key that is then lost
		set, err := keyset.NewSet(forged.Public(time.Time{}))
		b.must(err)
		text, err := set.Marshal()
		b.must(err)
		configMap := b.configMap()
		configMap.Data = map[string]string{"jwks.json": strings.ReplaceAll(string(text), forged.ID(), alias)}
		b.must(b.client.Update(context.Background(), configMap))
		b.lose()
		b.reconcile()
		if got := b.published().Len(); got != 1 {
			t.Errorf("got %d keys published, want the new one alone", got)
		}
		if _, there := b.published().Lookup(alias); there {
			t.Error("got a key trusted because it was published")
		}
	}
}

func TestAKilledManagerLosesNoKeyOfALostSecret(t *testing.T) {
	for writes := 0; ; writes++ {
		b := newBench(t, v1alpha1.SigningKeySpec{})
		b.reconcile()
		token := b.sign()
		b.lose()
		b.wire.CutAfter(writes)
		result, err := b.reconciler.Reconcile(context.Background(), reconcile.Request{NamespacedName: b.key})
		b.wire.Mend()
		b.reconcile()
		if !token() {
			t.Errorf("killed after %d writes: got a token refused that is valid", writes)
		}
		if got, want := b.phases(), "Active Retiring"; sorted(got) != want {
			t.Errorf("killed after %d writes: got %s, want %s", writes, got, want)
		}
		b.settled()
		if err == nil && result.RequeueAfter > time.Second {
			return
		}
	}
}

// secretOf puts a Secret of the key's name into the cluster, as a user does, and asks for it to be taken over.
func (b *bench) secretOf(data map[string][]byte) *corev1.Secret {
	b.Helper()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: b.key.Namespace, Name: b.key.Name + "-signing"}, Data: data}
	b.must(b.client.Create(context.Background(), secret))
	return secret
}

func (b *bench) annotate(value string) {
	b.Helper()
	key := b.object()
	key.Annotations = map[string]string{v1alpha1.AnnotationImport: value}
	b.must(b.client.Update(context.Background(), key))
	b.wire.Writes()
}

func TestAKeyFromElsewhereIsMovedIn(t *testing.T) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	b := newBench(t, v1alpha1.SigningKeySpec{})
	secret := b.secretOf(map[string][]byte{
		"private.pem": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), "kid": []byte("2019-key\n"),
	})
	b.reconcile()
	if got, want := b.condition("Ready").Reason, "NotOwned"; got != want {
		t.Fatalf("got Ready for reason %s, want %s: nobody has asked for it", got, want)
	}
	b.annotate("another uid")
	b.reconcile()
	if got, want := b.condition("Ready").Reason, "NotOwned"; got != want {
		t.Fatalf("got Ready for reason %s, want %s: it is another Secret that was asked for", got, want)
	}
	b.told()
	b.annotate(string(secret.UID))
	b.reconcile()
	if diff := cmp.Diff(b.told(), []string{"KeyImported"}); diff != "" {
		t.Errorf("events (-got +want):\n%s", diff)
	}
	active, _ := b.ring().Active()
	if block, _ := pem.Decode(active.PrivatePEM()); string(block.Bytes) != string(der) {
		t.Error("got another key signing, want the one that was moved in")
	}
	if _, there := b.published().Lookup("2019-key"); !there {
		t.Error("got tokens refused that carry the former kid, want them taken until they have ended")
	}
	if got, want := b.condition("Acknowledged").Reason+" "+b.condition("Intact").Reason, "NotAwaited Intact"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	b.inStep()
	b.settled()
	b.step(retain)
	if _, there := b.published().Lookup("2019-key"); there {
		t.Error("got the former kid still published after retain")
	}
	b.step(rotateEvery - retain - publishLead)
	b.step(publishLead)
	if got := b.active(); got == active.ID() {
		t.Error("got the key still signing, want it rotated like any other")
	}
}

func TestARingFromAnotherClusterIsMovedIn(t *testing.T) {
	there := newBench(t, v1alpha1.SigningKeySpec{})
	there.reconcile()
	b := newBench(t, v1alpha1.SigningKeySpec{})
	secret := b.secretOf(map[string][]byte{"ring.json": there.backup()["ring.json"]})
	b.annotate(string(secret.UID))
	b.reconcile()
	if got, want := b.active(), there.active(); got != want {
		t.Errorf("got key %s signing, want %s", got, want)
	}
	b.settled()
}

func TestAKeyThatIsMovedInAfterALossComesBesideWhatWasLost(t *testing.T) {
	there := newBench(t, v1alpha1.SigningKeySpec{})
	there.reconcile()
	b := newBench(t, v1alpha1.SigningKeySpec{})
	b.reconcile()
	token := b.sign()
	b.lose()
	secret := b.secretOf(map[string][]byte{"private.pem": there.backup()["private.pem"]})
	b.annotate(string(secret.UID))
	b.reconcile()
	if got, want := b.active(), there.active(); got != want || !token() {
		t.Errorf("got key %s signing, want %s; and a token of the lost key taken: %v", got, want, token())
	}
	b.settled()
}

func TestWhatCannotBeMovedInIsLeftAlone(t *testing.T) {
	b := newBench(t, v1alpha1.SigningKeySpec{})
	secret := b.secretOf(map[string][]byte{"private.pem": []byte("hunter2")})
	b.annotate(string(secret.UID))
	b.reconcile()
	ready := b.condition("Ready")
	if ready.Reason != "Unreadable" || !strings.Contains(ready.Message, "private.pem: is missing, or not PEM") || strings.Contains(ready.Message, "hunter2") {
		t.Errorf("got %s: %s", ready.Reason, ready.Message)
	}
	if got := b.secret("-signing"); got.ResourceVersion != secret.ResourceVersion {
		t.Error("got the Secret written, want it left alone")
	}
	owned := newBench(t, v1alpha1.SigningKeySpec{})
	theirs := owned.secretOf(nil)
	theirs.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: "x", UID: "x", Controller: new(bool)}}
	*theirs.OwnerReferences[0].Controller = true
	b.must(owned.client.Update(context.Background(), theirs))
	owned.annotate(string(theirs.UID))
	owned.reconcile()
	if got, want := owned.condition("Ready").Reason, "NotOwned"; got != want {
		t.Errorf("got Ready for reason %s, want %s: another controller has it", got, want)
	}
}

func TestTheEndOfALostKeyIsTheOneThatWasPublished(t *testing.T) {
	b := newBench(t, v1alpha1.SigningKeySpec{})
	b.clock.SetTime(start.Add(400 * time.Millisecond))
	b.publish()
	old := b.active()
	b.step(publishLead)
	before, _ := b.published().Lookup(old)
	b.lose()
	b.reconcile()
	after, ok := b.published().Lookup(old)
	if !ok || !after.NotAfter().Equal(before.NotAfter()) {
		t.Errorf("got the end put to %v, want %v as published", after.NotAfter(), before.NotAfter())
	}
}
