package distribution_test

import (
	"net/http"
	"sync"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/latchkey-dev/latchkey/controllers/distribution"
	"github.com/latchkey-dev/latchkey/test/controllertest"
)

// crowd holds the first patches until as many have come as may be under way at a time.
type crowd struct {
	next http.RoundTripper

	mu                   sync.Mutex
	under, most, patches int
	full                 chan struct{} // closed when there have been as many
}

const mostPokes = 8

func (c *crowd) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.Method != http.MethodPatch {
		return c.next.RoundTrip(request)
	}
	c.mu.Lock()
	c.under++
	c.patches++
	c.most = max(c.most, c.under)
	if c.patches == mostPokes {
		close(c.full)
	}
	c.mu.Unlock()
	<-c.full
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.under--
	}()
	return c.next.RoundTrip(request)
}

func TestEightPodsArePokedAtATime(t *testing.T) {
	b := newBench(t, injected, bundleVolume())
	b.configMap("one")
	crowd := &crowd{full: make(chan struct{})}
	config := rest.CopyConfig(controllertest.Config())
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { crowd.next = next; return crowd })
	c, _ := controllertest.Client(t, config)
	r := &distribution.Reconciler{Client: c, Known: c, Clock: b.clock, Events: b.events}

	const pods = 40
	requests := b.like(pods)
	for range 2 { // a ready pod that does not answer is asked twice
		b.together(r, requests)
	}
	if crowd.patches != pods || crowd.most != mostPokes {
		t.Errorf("got %d pokes, %d of them at a time; want %d, and %d", crowd.patches, crowd.most, pods, mostPokes)
	}
}
