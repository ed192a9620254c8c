package managerload

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// expected is what a change may have the manager write.
type expected struct {
	policies map[types.NamespacedName]bool // whose bundles change
	// once are writes that come once each: "patch configmaps load-000/key-0000-jwks".
	once []string
	// status are objects, besides the policies, whose status is written: "signingkeys load-000/key-0000".
	status []string
}

// outcome is what came of a change.
type outcome struct {
	pods, pokes, repeats int
	bundles, statuses    int
	reads                int
	last                 time.Time // when the last first poke of a pod was answered
}

// judge compares what was written with what should have been. Before and after are what the pods had applied.
func judge(requests []request, want expected, before, after map[types.NamespacedName]standIn) (outcome, []string) {
	var o outcome
	var faults []string
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }

	affected := map[types.NamespacedName]bool{}
	for name, pod := range after {
		if want.policies[pod.policy] {
			affected[name] = true
			if pod.applied == before[name].applied {
				fault("pod %s has the files of before", name)
			}
		}
	}
	o.pods = len(affected)
	first, bundles, once := map[types.NamespacedName]int{}, map[types.NamespacedName]int{}, map[string]int{}
	for _, r := range requests {
		if !r.writes() {
			if r.verb == "get" || r.verb == "list" {
				o.reads++
			}
			continue
		}
		policy := types.NamespacedName{Namespace: r.object.Namespace, Name: strings.TrimSuffix(r.object.Name, "-bundle")}
		whole := r.what() + " " + r.object.String()
		switch {
		case r.what() == "patch pods" && affected[r.object] && r.attempt == 1:
			first[r.object]++
			o.pokes++
			if r.answered.After(o.last) {
				o.last = r.answered
			}
		case r.what() == "patch pods" && affected[r.object] && !r.received.After(after[r.object].answered):
			o.repeats++
		case (r.what() == "patch configmaps" || r.what() == "update secrets") && policy.Name+"-bundle" == r.object.Name && want.policies[policy]:
			bundles[policy]++
			o.bundles++
		case r.what() == "update authpolicies/status" && want.policies[r.object]:
			o.statuses++
		case slices.Contains(want.once, whole):
			once[whole]++
		case slices.Contains(want.status, strings.TrimSuffix(r.resource, "/status")+" "+r.object.String()) && r.what() == "update "+r.resource:
			o.statuses++
		default:
			fault("%s, attempt %d, answered %d: nothing asks for that", whole, r.attempt, r.code)
		}
	}
	for pod := range affected {
		if first[pod] != 1 {
			fault("pod %s was poked anew %d times, want once", pod, first[pod])
		}
	}
	for policy := range want.policies {
		if bundles[policy] != 1 {
			fault("the bundle of policy %s was written %d times, want once", policy, bundles[policy])
		}
	}
	for _, write := range want.once {
		if once[write] != 1 {
			fault("%s: %d times, want once", write, once[write])
		}
	}
	return o, faults
}

// tally counts requests by what they ask for, the most frequent first.
func tally(requests []request, those func(request) bool) string {
	counts := map[string]int{}
	for _, r := range requests {
		if those(r) {
			counts[r.what()]++
		}
	}
	names := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), strings.Compare(a, b))
	})
	var text []string
	for _, name := range names {
		text = append(text, fmt.Sprintf("%d x %s", counts[name], name))
	}
	if len(text) == 0 {
		return "none"
	}
	return strings.Join(text, ", ")
}
