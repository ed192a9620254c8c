package serving_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/internal/inject/serving"
	"github.com/latchkey-dev/latchkey/internal/pki"
	"github.com/latchkey-dev/latchkey/test/controlplane"
)

var (
	api  client.Client
	noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	cluster, err := controlplane.Start()
	if err == nil {
		defer func() { _ = cluster.Stop() }()
		api, err = client.New(cluster.Config, client.Options{})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

func TestReplicasThatStartTogetherShareOneAuthority(t *testing.T) {
	namespace := newNamespace(t)
	certificates := make([][]byte, 10)
	var replicas sync.WaitGroup
	for i := range certificates {
		replicas.Go(func() {
			ca, err := serving.Authority(t.Context(), api, namespace, noon)
			if err != nil {
				t.Error(err)
				return
			}
			certificates[i] = ca.CertPEM()
		})
	}
	replicas.Wait()
	for i, certificate := range certificates {
		if !bytes.Equal(certificate, certificates[0]) {
			t.Errorf("replica %d has an authority of its own", i)
		}
	}
}

func TestAnAuthorityThatCannotBeReadIsNeverReplaced(t *testing.T) {
	good, err := pki.NewCA(noon)
	if err != nil {
		t.Fatal(err)
	}
	other, err := pki.NewCA(noon)
	if err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		name string
		data map[string][]byte
	}{
		{name: "nothing in it", data: nil},
		{name: "no key", data: map[string][]byte{"tls.crt": good.CertPEM()}},
		{name: "no PEM", data: map[string][]byte{"tls.crt": []byte("x"), "tls.key": []byte("y")}},
		{name: "the key of another", data: map[string][]byte{"tls.crt": good.CertPEM(), "tls.key": other.KeyPEM()}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			namespace := newNamespace(t)
			broken := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: serving.AuthoritySecret}, Data: c.data}
			if err := api.Create(t.Context(), broken); err != nil {
				t.Fatal(err)
			}
			_, err := serving.Authority(t.Context(), api, namespace, noon)
			if want := "Secret " + namespace + "/latchkey-ca: "; err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want an error with %s", err, want)
			}
			var after corev1.Secret
			if err := api.Get(t.Context(), client.ObjectKeyFromObject(broken), &after); err != nil {
				t.Fatal(err)
			}
			if after.ResourceVersion != broken.ResourceVersion {
				t.Error("the Secret was written to")
			}
		})
	}
}

func TestAnAuthorityFollowsAnotherAndWhatEitherHasIssuedIsTrustedAllTheWhile(t *testing.T) {
	namespace := newNamespace(t)
	const names, week = "latchkey-webhook.latchkey-system.svc", 7 * 24 * time.Hour
	var issued *pki.Certificate // as long ago as a certificate lives
	var ago time.Time
	var before []byte // what was trusted a week ago
	authorities, bundles := map[string]bool{}, map[string]bool{}
	for now := noon; now.Before(noon.AddDate(25, 0, 0)); now = now.Add(week) {
		ca, err := serving.Authority(t.Context(), api, namespace, now)
		if err != nil {
			t.Fatal(err)
		}
		fresh, err := ca.Issue([]string{names}, nil, now)
		if err != nil {
			t.Fatal(err)
		}
		if left := fresh.TLS().Leaf.NotAfter.Sub(now); left < 89*24*time.Hour {
			t.Fatalf("%s: a certificate is valid for %s, want 90 days: the authority is about to end", now, left)
		}
		trust := func(what string, certificate *pki.Certificate, bundle []byte) {
			t.Helper()
			roots := x509.NewCertPool()
			roots.AppendCertsFromPEM(bundle)
			if _, err := certificate.TLS().Leaf.Verify(x509.VerifyOptions{DNSName: names, Roots: roots, CurrentTime: now}); err != nil {
				t.Fatalf("%s: %s: %v", now, what, err)
			}
		}
		if before != nil {
			trust("what is issued now, by who has not heard anything for a week", fresh, before)
			trust("what was issued weeks ago, by who hears everything", issued, ca.TrustPEM())
		}
		if issued == nil || now.Sub(ago) > 80*24*time.Hour {
			issued, ago = fresh, now
		}
		before = ca.TrustPEM()
		authorities[string(ca.CertPEM())], bundles[string(before)] = true, true
	}
	if len(authorities) != 4 {
		t.Errorf("got %d authorities in 25 years, want 4", len(authorities))
	}
	// With each that follows: the two together, and when the first has ended the second alone.
	if len(bundles) > 7 {
		t.Errorf("what is to be trusted changed %d times, want no more than 6", len(bundles)-1)
	}
}

func TestReplicasThatRenewTogetherAgree(t *testing.T) {
	namespace := newNamespace(t)
	if _, err := serving.Authority(t.Context(), api, namespace, noon); err != nil {
		t.Fatal(err)
	}
	for _, now := range []time.Time{noon.AddDate(7, 0, 0), noon.AddDate(7, 2, 0)} {
		bundles := make([]string, 10)
		var replicas sync.WaitGroup
		for i := range bundles {
			replicas.Go(func() {
				ca, err := serving.Authority(t.Context(), api, namespace, now)
				if err != nil {
					t.Error(err)
					return
				}
				bundles[i] = string(ca.CertPEM()) + string(ca.TrustPEM())
			})
		}
		replicas.Wait()
		for i, each := range bundles {
			if each != bundles[0] {
				t.Errorf("%s: replica %d has or trusts another authority", now, i)
			}
		}
	}
}

func TestAManagerEndsWhenItsAuthorityIsNoLongerTheOneItBeganWith(t *testing.T) {
	namespace := newNamespace(t)
	now := clocktesting.NewFakeClock(noon)
	ca, err := serving.Authority(t.Context(), api, namespace, now.Now())
	if err != nil {
		t.Fatal(err)
	}
	watching, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	watch := func() { ended <- serving.Watch(watching, api, namespace, ca, now) }
	go watch()
	for range 5 {
		for !now.HasWaiters() {
			runtime.Gosched()
		}
		now.Step(2 * time.Hour)
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("nothing has changed: got %v, want the end of the watch alone", err)
	}
	watching, now = t.Context(), clocktesting.NewFakeClock(now.Now())
	go watch()
	for !now.HasWaiters() {
		runtime.Gosched()
	}
	now.Step(7 * 365 * 24 * time.Hour)
	if err := <-ended; !errors.Is(err, serving.ErrChanged) {
		t.Errorf("a renewal is due: got %v, want %v", err, serving.ErrChanged)
	}
}

func TestTheServingCertificateIsRenewedLongBeforeItEnds(t *testing.T) {
	ca, err := pki.NewCA(noon)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca.CertPEM())
	now := clocktesting.NewFakePassiveClock(noon)
	certificate, err := serving.NewCertificate(ca, "latchkey-webhook", "latchkey-system", now)
	if err != nil {
		t.Fatal(err)
	}
	issued := map[string]bool{}
	for day := range 365 {
		now.SetTime(noon.AddDate(0, 0, day))
		served, err := certificate.Get(nil)
		if err != nil {
			t.Fatal(err)
		}
		issued[served.Leaf.SerialNumber.String()] = true
		if _, err := served.Leaf.Verify(x509.VerifyOptions{
			DNSName: "latchkey-webhook.latchkey-system.svc", Roots: roots, CurrentTime: now.Now().Add(7 * 24 * time.Hour),
		}); err != nil {
			t.Fatalf("on day %d, what is served would not be trusted a week later: %v", day, err)
		}
	}
	if got, limit := len(issued), 12; got < 2 || got > limit {
		t.Errorf("got %d certificates in a year, want at least 2 and at most %d", got, limit)
	}
}

func newNamespace(t *testing.T) string {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "serving-"}}
	if err := api.Create(t.Context(), namespace); err != nil {
		t.Fatal(err)
	}
	return namespace.Name
}
