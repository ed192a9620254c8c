// Package architecture holds the code to the decisions of docs/architecture.md that a compiler does not check: who may know whom, and that
// each package says what it is.
package architecture

import (
	"strings"
	"testing"
)

// The third-party packages that rules speak of.
const (
	clientGo          = "k8s.io/client-go"
	controllerRuntime = "sigs.k8s.io/controller-runtime"
	apimachinery      = "k8s.io/apimachinery"
	jwx               = "github.com/lestrrat-go/jwx"
	cel               = "cel.dev/cel-go"
)

// rule forbids some packages some knowledge. Packages of the project are named by their path within the module.
type rule struct {
	who       []string // these and all below them; empty for everybody
	whoNot    []string // except these and all below them
	direct    bool     // only what is imported directly; otherwise anything that ends up in the program counts
	forbidden []string // these and all below them
	only      []string // or, instead of forbidden: everything but the standard library and these
	except    []string // of forbidden
	why       string
}

var rules = []rule{
	{
		who: []string{"internal/rotation"}, only: []string{},
		why: "when keys change role is decided by time and keys alone, so that it can be fuzzed and read without knowing anything else",
	},
	{
		who: []string{"internal/policy"}, direct: true, only: []string{cel},
		why: "manager, sidecar and CLI share one evaluator: what it needs, all of them carry",
	},
	{
		who: []string{"sidecar", "cmd/sidecar"}, forbidden: []string{"internal/signing", "internal/issuer", "controllers", "api", apimachinery, clientGo, controllerRuntime},
		why: "the data plane reads mounted files: it must run on without the API server, stay small, and be unable to sign",
	},
	{
		who: []string{"internal/issuer", "cmd/issuer"}, forbidden: []string{"sidecar", "controllers", "api", apimachinery, clientGo, controllerRuntime},
		why: "the token service reads mounted files: people sign in while the API server is away",
	},
	{
		who: []string{"internal/jwksource", "internal/keyset", "internal/verify"}, forbidden: []string{"internal/signing"},
		why: "whoever only verifies must not hold what signs",
	},
	{
		who: []string{"controllers"}, forbidden: []string{"sidecar", "internal/issuer"}, except: []string{"internal/issuer/config"},
		why: "controllers talk to sidecar and token service through files, whose formats have packages of their own",
	},
	apart("controllers/authpolicy"), apart("controllers/coverage"), apart("controllers/distribution"), apart("controllers/foreign"), apart("controllers/signingkey"), apart("controllers/tokenissuer"),
	{
		who: []string{"api"}, direct: true, only: []string{apimachinery},
		why: "other projects import the kinds, and should not get more than they ask for",
	},
	{
		whoNot: []string{"internal/keyset", "internal/signing"}, direct: true, forbidden: []string{jwx},
		why: "jwx is used for primitives only, behind two packages: its own parsers accept forged tokens, and replacing it shall stay a day's work",
	},
	{
		forbidden: []string{"cmd"}, direct: true,
		why: "a main package is where the program is put together, not a library",
	},
	{
		whoNot: []string{"test", "internal/issuer/store/storetest"}, forbidden: []string{"test", "testing"},
		why: "what is shipped carries nothing that is there for tests",
	},
}

func apart(controller string) rule {
	return rule{
		who: []string{controller}, forbidden: []string{"controllers"}, except: []string{controller},
		why: "controllers meet in the API server, not in each other's code",
	}
}

func TestPackagesKnowOnlyWhatTheyMay(t *testing.T) {
	own, standard := packages(t)
	for _, r := range rules {
		applied := false
		for _, p := range own {
			if len(r.who) > 0 && !within(p.path(), r.who...) || within(p.path(), r.whoNot...) {
				continue
			}
			applied = true
			known := p.Deps
			if r.direct {
				known = p.Imports
			}
			for _, path := range known {
				if r.forbids(strings.TrimPrefix(path, module), standard) {
					t.Errorf("%s must not import %s: %s", p.path(), strings.TrimPrefix(path, module), r.why)
				}
			}
		}
		if !applied {
			t.Errorf("no package is left that this rule is about: %v, %s", r.who, r.why)
		}
	}
}

func (r rule) forbids(path string, standard map[string]bool) bool {
	if r.only != nil {
		return !standard[path] && !within(path, r.only...)
	}
	return within(path, r.forbidden...) && !within(path, r.except...)
}
