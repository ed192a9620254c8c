package authpolicy

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/bundle"
	"github.com/latchkey-dev/latchkey/internal/jwksource"
	"github.com/latchkey-dev/latchkey/internal/keyset"
)

// ForeignKeys fetches what foreign issuers publish.
type ForeignKeys interface {
	// Keep makes sources all that a policy needs, and tells what is known of each.
	Keep(policy types.NamespacedName, sources []jwksource.Source) ([]jwksource.State, error)
	// Changed sends each policy of whose sources Keep would now tell something else.
	Changed() <-chan event.GenericEvent
}

// firstAnswer is how long a bundle waits at most for the keys of an issuer that was not known before.
const firstAnswer = 10 * time.Second

// foreignKeys are what is known of foreign issuers: those of the spec, and those of the bundle that is in force.
type foreignKeys struct {
	states  map[jwksource.Source]jwksource.State
	inForce *bundle.Bundle // nil: there is none that can be read
}

func (r *Reconciler) foreignKeys(policy *v1alpha1.AuthPolicy, inForce *bundle.Bundle) (foreignKeys, error) {
	known := foreignKeys{states: map[jwksource.Source]jwksource.State{}, inForce: inForce}
	var sources []jwksource.Source
	need := func(source jwksource.Source, isForeign bool) {
		if isForeign && source.Check() == nil && !slices.Contains(sources, source) {
			sources = append(sources, source)
		}
	}
	for _, issuer := range policy.Spec.Issuers {
		need(sourceInSpec(issuer))
	}
	if inForce != nil { // it may have to go on, should the policy be one that cannot be rendered
		for i := range inForce.Issuers {
			need(sourceInBundle(&inForce.Issuers[i]))
		}
	}
	states, err := r.Foreign.Keep(client.ObjectKeyFromObject(policy), sources)
	if err != nil {
		return known, err
	}
	for i, source := range sources {
		known.states[source] = states[i]
	}
	return known, nil
}

func sourceInSpec(issuer v1alpha1.PolicyIssuer) (jwksource.Source, bool) {
	keys := issuer.Keys
	algorithms := make([]string, len(issuer.Algorithms))
	for i, algorithm := range issuer.Algorithms {
		algorithms[i] = string(algorithm)
	}
	return jwksource.Source{
		Issuer: issuer.URL, JWKSURI: keys.JWKSURI, DiscoveryURL: keys.DiscoveryURL, CA: keys.CertificateAuthority, Algorithms: jwksource.Algorithms(algorithms),
	}, keys.JWKSURI != "" || keys.DiscoveryURL != ""
}

func sourceInBundle(issuer *bundle.Issuer) (jwksource.Source, bool) {
	from := issuer.Foreign
	if from == nil {
		return jwksource.Source{}, false
	}
	source := jwksource.Source{
		Issuer: issuer.URL, JWKSURI: from.JWKSURI, DiscoveryURL: from.DiscoveryURL, CA: from.CA, Algorithms: jwksource.Algorithms(issuer.Algorithms),
	}
	if source.DiscoveryURL != "" {
		source.JWKSURI = "" // was found there
	}
	return source, true
}

// find returns the keys of a source. Those of the bundle that is in force stand in while this manager has fetched none, so that an outage takes
// nothing away when the manager is replaced meanwhile. The bundle is the policy's own: nobody's keys come to another namespace by it.
func (k foreignKeys) find(from jwksource.Source) source {
	if err := from.Check(); err != nil {
		return source{missing: &problem{v1alpha1.ReasonInvalid, under("keys.", err.Error())}}
	}
	state := k.states[from]
	found := source{foreign: &bundle.Foreign{JWKSURI: from.JWKSURI, DiscoveryURL: from.DiscoveryURL, CA: from.CA}, state: &state}
	if state.Fetched != nil {
		found.keys, found.foreign.JWKSURI = state.Fetched.Set, state.Fetched.JWKSURI
		return found
	}
	if k.inForce == nil {
		return found
	}
	for i := range k.inForce.Issuers {
		issuer := &k.inForce.Issuers[i]
		before, isForeign := sourceInBundle(issuer)
		algorithms := before.Algorithms
		before.Algorithms = from.Algorithms
		if !isForeign || before != from || issuer.Keys == nil {
			continue
		}
		var taken []string
		if from.Algorithms != algorithms && from.Algorithms != "" {
			taken = strings.Split(from.Algorithms, ",")
		}
		if set, err := keyset.ParseForeign(issuer.Keys, taken); err == nil {
			found.keys, found.foreign.JWKSURI = set, issuer.Foreign.JWKSURI
		}
	}
	return found
}

// awaited says that an issuer has no keys yet, and may have some in a moment.
func awaited(sources []source) bool {
	return slices.ContainsFunc(sources, func(s source) bool { return s.state != nil && s.state.Pending && s.keys == nil })
}

// health says how fetching goes for a policy's issuers, in the words of a condition. It is nil where nothing is fetched, and unsure until
// everything was tried once: then what was said before stays.
func health(spec v1alpha1.AuthPolicySpec, sources []source) (p *problem, unsure bool) {
	var failed, refused []string
	fetched := false
	for i, found := range sources {
		if found.state == nil {
			continue
		}
		fetched = true
		at := fmt.Sprintf("issuers[%d] (%s): ", i, spec.Issuers[i].URL)
		switch state := found.state; {
		case state.Failure != nil:
			failed = append(failed, at+state.Failure.Detail+"; "+standIn(found))
		case state.Fetched == nil:
			return nil, true
		}
		if state := found.state; state.Fetched != nil {
			for _, why := range state.Fetched.Set.Refused() {
				refused = append(refused, at+"left out: "+why)
			}
		}
	}
	switch {
	case !fetched:
		return nil, false
	case len(failed) > 0:
		return &problem{v1alpha1.ReasonFetchFailed, listed(append(failed, refused...))}, false
	case len(refused) > 0:
		return &problem{v1alpha1.ReasonKeysRefused, listed(refused)}, false
	}
	return &problem{v1alpha1.ReasonHealthy, "the key sets of all foreign issuers were fetched, and nothing is wrong with their keys"}, false
}

// standIn says what is in force instead of what could not be fetched.
func standIn(found source) string {
	switch {
	case found.keys == nil:
		return "no keys of it are known, so its tokens are answered 503"
	case found.state.Fetched == nil:
		return "the keys that were fetched before stay in force"
	}
	return "the keys of " + found.state.At.UTC().Format(time.RFC3339) + " stay in force"
}
