package policy

import (
	"fmt"
	"slices"
	"strings"
)

// Warning is something in a document that compiles and may not mean what its author thinks.
type Warning struct {
	// Path leads to the field in the spec of an AuthPolicy.
	Path   string
	Reason WarningReason
	// Message says what happens, and what would help.
	Message string
}

func (w Warning) String() string { return w.Path + ": " + w.Message }

// WarningReason is the kind of a Warning. Its values are stable.
type WarningReason string

const (
	// WarningAudit means that nothing is refused for want of authorization.
	WarningAudit WarningReason = "AuditMode"
	// WarningUnreachable means that earlier rules decide every request that the rule matches.
	WarningUnreachable WarningReason = "UnreachableRule"
	// WarningShadowed means that earlier rules decide every request that one path of the rule matches. It has other paths.
	WarningShadowed WarningReason = "ShadowedPath"
	// WarningOverlap means that an earlier and laxer rule decides some of the requests that a path of the rule matches, and others: it is no exception that
	// was written for them.
	WarningOverlap WarningReason = "OverlappingRules"
)

// maxComparisons bounds how many pairs of paths are compared: as many as 1,000 paths have, which takes some milliseconds.
const maxComparisons = 1 << 20

// Warnings looks in a document that compiles for what its author may not have meant. It is sound, not complete: a rule or path that it calls
// unreachable or shadowed decides no request, but it sees none where it takes several earlier paths to cover one, and it stops after
// maxComparisons.
func Warnings(d Document) []Warning {
	var found []Warning
	if d.Mode == ModeAudit {
		found = append(found, Warning{"mode", WarningAudit, "what is refused with 401 or 403 goes on to the app, and is only counted, until this is Enforce"})
	}
	c := comparison{rules: d.Rules, left: maxComparisons}
	for _, r := range d.Rules {
		c.shapes = append(c.shapes, shapesOf(r))
	}
	for i := range d.Rules {
		found = append(found, c.warnings(i)...)
	}
	return found
}

// comparison compares the rules of one document.
type comparison struct {
	rules  []Rule
	shapes [][]shape // of each rule's paths
	left   int       // how many pairs of paths may still be compared
}

func (c *comparison) warnings(i int) []Warning {
	var found []Warning
	var by []int
	shadowed := 0
	for n, s := range c.shapes[i] {
		path := fmt.Sprintf("rules[%d].paths[%d]", i, n)
		if len(c.rules[i].Paths) == 0 {
			path = fmt.Sprintf("rules[%d]", i)
		}
		if covering := c.covering(i, s); covering != nil {
			shadowed++
			by = append(by, covering...)
			found = append(found, Warning{path, WarningShadowed, "never decides, since " + named(covering) + " all that it matches; put it before, or delete it"})
		} else if laxer := c.overlapping(i, s); laxer >= 0 {
			found = append(found, Warning{path, WarningOverlap, fmt.Sprintf(
				"rules[%d], which asks for less, decides some of what it matches; to guard these requests too, put this rule before that one", laxer)})
		}
	}
	if shadowed == len(c.shapes[i]) {
		return []Warning{{fmt.Sprintf("rules[%d]", i), WarningUnreachable,
			"never decides, since " + named(by) + " all that it matches; put it before, or delete it"}}
	}
	return found
}

// covering returns rules before rule i that together decide whatever it matches by one of its paths, nil where there are none.
func (c *comparison) covering(i int, s shape) []int {
	var candidates, by []int
	for j := range i {
		if c.anyPath(j, s.within) {
			candidates = append(candidates, j)
		}
	}
	for _, host := range orEvery(c.rules[i].Hosts) {
		for _, method := range orEvery(c.rules[i].Methods) {
			n := slices.IndexFunc(candidates, func(j int) bool {
				return coversHost(c.rules[j].Hosts, host) && coversMethod(c.rules[j].Methods, method)
			})
			if n < 0 {
				return nil
			}
			by = append(by, candidates[n])
		}
	}
	return by
}

// overlapping returns a rule before rule i that asks for less and decides some of what it matches by one of its paths, -1 where there is none. A
// rule whose every request rule i would match is an exception from it, which is what goes before.
func (c *comparison) overlapping(i int, s shape) int {
	for j := range i {
		if strictness(c.rules[j]) < strictness(c.rules[i]) && meet(c.rules[j].Hosts, c.rules[i].Hosts, coversHost) &&
			meet(c.rules[j].Methods, c.rules[i].Methods, coversMethod) && c.anyPath(j, s.meets) && !c.exception(j, i) {
			return j
		}
	}
	return -1
}

func (c *comparison) exception(j, i int) bool {
	for _, host := range orEvery(c.rules[j].Hosts) {
		if !coversHost(c.rules[i].Hosts, host) {
			return false
		}
	}
	for _, method := range orEvery(c.rules[j].Methods) {
		if !coversMethod(c.rules[i].Methods, method) {
			return false
		}
	}
	for _, s := range c.shapes[j] {
		if !c.anyPath(i, s.within) {
			return false
		}
	}
	return true
}

// anyPath asks about the paths of a rule, one by one, until there are no comparisons left.
func (c *comparison) anyPath(rule int, is func(shape) bool) bool {
	return slices.ContainsFunc(c.shapes[rule], func(s shape) bool {
		c.left--
		return c.left >= 0 && is(s)
	})
}

// strictness says how much a rule asks for. What asks for claims, scopes or an expression asks for more than a token alone, and nobody knows which of two
// such rules asks for more.
func strictness(r Rule) int {
	switch {
	case r.Access == AccessAnonymous:
		return 0
	case r.Access == AccessDeny:
		return 3
	case len(r.Claims) == 0 && len(r.Scopes) == 0 && r.Expression == "":
		return 1
	}
	return 2
}

// orEvery stands "" for every host or method.
func orEvery(list []string) []string {
	if len(list) == 0 {
		return []string{""}
	}
	return list
}

func coversMethod(list []string, method string) bool {
	return len(list) == 0 || slices.Contains(list, method)
}

// coversHost wants a host of a rule: a name, a wildcard, or "" for every host.
func coversHost(list []string, host string) bool {
	return len(list) == 0 || host != "" && slices.ContainsFunc(list, func(other string) bool {
		suffix, below := strings.CutPrefix(other, "*")
		return other == host || below && strings.HasSuffix(strings.TrimPrefix(host, "*"), suffix)
	})
}

// meet says whether one host or method can be in two lists.
func meet(a, b []string, covers func([]string, string) bool) bool {
	covered := func(by []string) func(string) bool { return func(one string) bool { return covers(by, one) } }
	return slices.ContainsFunc(orEvery(a), covered(b)) || slices.ContainsFunc(orEvery(b), covered(a))
}

func named(rules []int) string {
	slices.Sort(rules)
	rules = slices.Compact(rules)
	if len(rules) == 1 {
		return fmt.Sprintf("rules[%d] decides", rules[0])
	}
	texts := make([]string, len(rules))
	for n, i := range rules {
		texts[n] = fmt.Sprintf("rules[%d]", i)
	}
	return strings.Join(texts[:len(texts)-1], ", ") + " and " + texts[len(texts)-1] + " decide"
}
