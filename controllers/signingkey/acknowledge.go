package signingkey

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/applied"
)

const (
	// askedAtOnce bounds how many pods are asked at the same time.
	askedAtOnce = 64
	// roundTime bounds how long all of them are asked. Whatever else happens to the SigningKey, a revocation for one, is seen after that.
	roundTime = 2 * time.Second
)

// acknowledgement is what those that depend on a key say of it.
type acknowledgement struct {
	keyID     string   // of the key that is due; "" when none is, and nobody was asked
	missing   []string // names of the pods of the key's namespace that have not reported it, sorted
	elsewhere int      // how many pods of other namespaces have not
}

// count is how many pods have not reported the key.
func (a acknowledgement) count() int { return len(a.missing) + a.elsewhere }

// complete lists the key, if everybody has reported it.
func (a acknowledgement) complete() []string {
	if a.keyID == "" || a.count() > 0 {
		return nil
	}
	return []string{a.keyID}
}

// Names are bounded by number and length: an event takes a kilobyte, and a pod's name may be a quarter of that.
const (
	maxNames       = 10
	maxNamesLength = 600
)

// named are the first of the missing pods.
func (a acknowledgement) named() []string { return a.missing[:min(maxNames, len(a.missing))] }

// String names the missing pods: "a, b and 3 more". Those of other namespaces are only counted.
func (a acknowledgement) String() string {
	names := a.named()
	for len(strings.Join(names, ", ")) > maxNamesLength {
		names = names[:len(names)-1]
	}
	text := strings.Join(names, ", ")
	if more := len(a.missing) - len(names); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	if a.elsewhere > 0 {
		text = strings.TrimPrefix(fmt.Sprintf("%s and %d of other namespaces", text, a.elsewhere), " and ")
	}
	return text
}

// ask asks the pods that depend on a SigningKey whether they hold the key that is due. Those that have said so are not asked again: files
// in a pod do not go back to what they were. The order is another each time, so that no pod is left out because others do not answer.
func (r *Reconciler) ask(ctx context.Context, key *v1alpha1.SigningKey, refs references, keyID string) (acknowledgement, error) {
	pods, err := r.dependents(ctx, key, refs)
	if err != nil {
		return acknowledgement{}, err
	}
	reported := r.reported(client.ObjectKeyFromObject(key), keyID)
	present := make(map[types.UID]bool, len(pods))
	for i := range pods {
		present[pods[i].UID] = true
	}
	maps.DeleteFunc(reported, func(uid types.UID, _ bool) bool { return !present[uid] }) // of pods that are gone: a key may wait for years
	pods = slices.DeleteFunc(pods, func(pod corev1.Pod) bool { return reported[pod.UID] })
	rand.Shuffle(len(pods), func(i, j int) { pods[i], pods[j] = pods[j], pods[i] }) //nolint:gosec // the order is no secret

	round, over := context.WithTimeout(ctx, roundTime)
	defer over()
	holds := make([]bool, len(pods))
	var asking errgroup.Group
	asking.SetLimit(askedAtOnce)
	for i := range pods {
		asking.Go(func() error {
			report, answered := applied.Ask(round, &pods[i])
			holds[i] = answered && report.HoldsKey(keyID)
			return nil
		})
	}
	_ = asking.Wait() // who does not answer is part of what is found out

	heard := acknowledgement{keyID: keyID}
	for i := range pods {
		switch {
		case holds[i]:
			reported[pods[i].UID] = true
		case pods[i].Namespace == key.Namespace:
			heard.missing = append(heard.missing, pods[i].Name)
		default:
			heard.elsewhere++
		}
	}
	slices.Sort(heard.missing)
	return heard, nil
}

// reports are the pods, by uid, that have reported the key that is due. They are remembered so that nobody is asked twice, and by the
// manager alone: one that starts anew asks everybody once more.
type reports struct {
	keyID string
	pods  map[types.UID]bool
}

// reported returns the pods that have reported a key. Only one Reconcile of a SigningKey runs at a time, and it may add to them.
func (r *Reconciler) reported(key types.NamespacedName, keyID string) map[types.UID]bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.heard == nil {
		r.heard = map[types.NamespacedName]reports{}
	}
	if r.heard[key].keyID != keyID {
		r.heard[key] = reports{keyID: keyID, pods: map[types.UID]bool{}}
	}
	return r.heard[key].pods
}

func (r *Reconciler) forgetReports(key types.NamespacedName) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.heard, key)
}
