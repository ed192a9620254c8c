package policy

import (
	"slices"
	"strings"
)

// Compile checks a document and makes a program of it. Its error is Errors: everything that is wrong, each with its path.
func Compile(d Document) (*Program, error) {
	var errs Errors
	root := check{errors: &errs}

	p := &Program{
		rules:     make([]rule, len(d.Rules)),
		fallback:  rule{access: d.Default},
		headers:   slices.Clone(d.Headers),
		keepToken: d.KeepToken,
		audits:    d.Mode == ModeAudit,
	}
	budget := newBudget()
	for i, r := range d.Rules {
		c := root.at("rules[%d]", i)
		checkRule(c, r)
		if r.Expression != "" {
			p.rules[i].expression = p.condition(budget, c.at("expression"), r.Expression)
		}
	}
	switch d.Default {
	case "":
		p.fallback.access = AccessDeny
	case AccessDeny, AccessAuthenticated:
	default:
		root.at("default").fail("must be Deny or Authenticated")
	}
	checkHeaders(root.at("forward.headers"), d.Headers)
	if d.Mode != "" && d.Mode != ModeEnforce && d.Mode != ModeAudit {
		root.at("mode").fail("must be Enforce or Audit")
	}
	if len(errs) > 0 {
		return nil, errs
	}

	p.visible = budget.sees
	for i, r := range d.Rules {
		p.fill(&p.rules[i], r)
	}
	p.index = newIndex(d.Rules)
	if len(p.headers) == 0 {
		p.headers = DefaultHeaders()
	}
	p.compileHeaders()
	return p, nil
}

func checkRule(c check, r Rule) {
	for i, host := range r.Hosts {
		checkHost(c.at("hosts[%d]", i), host)
	}
	for i, path := range r.Paths {
		checkPath(c.at("paths[%d]", i), path)
	}
	for i, method := range r.Methods {
		if !isMethod(method) {
			c.at("methods[%d]", i).fail("must be an HTTP method in capital letters, such as GET, and not CONNECT")
		}
	}
	switch r.Access {
	case "", AccessAuthenticated:
	case AccessAnonymous, AccessDeny:
		const only = "goes with access: Authenticated only"
		if len(r.Claims) > 0 {
			c.at("claims").fail(only)
		}
		if len(r.Scopes) > 0 {
			c.at("scopes").fail(only)
		}
		if r.Expression != "" {
			c.at("expression").fail(only)
		}
	default:
		c.at("access").fail("must be Anonymous, Authenticated or Deny")
	}
	for i, requirement := range r.Claims {
		checkClaim(c.at("claims[%d].claim", i), requirement.Claim)
		if len(requirement.AnyOf) == 0 {
			c.at("claims[%d].anyOf", i).fail("must list at least one value")
		}
	}
	for i, scope := range r.Scopes {
		if !isScope(scope) {
			c.at("scopes[%d]", i).fail("must be one scope: 1 to 128 visible ASCII characters, without a quotation mark or backslash")
		}
	}
}

func checkPath(c check, p Path) {
	set := 0
	for _, text := range []string{p.Exact, p.Prefix, p.Pattern} {
		if text != "" {
			set++
		}
	}
	switch {
	case set != 1:
		c.fail("set exactly one of exact, prefix and pattern")
	case p.Exact != "":
		checkText(c.at("exact"), p.Exact)
	case p.Pattern != "":
		checkPattern(c.at("pattern"), p.Pattern)
	case p.Prefix != "/" && strings.HasSuffix(p.Prefix, "/"):
		c.at("prefix").fail(`must not end with "/": a prefix matches its own path and everything below it`)
	default:
		checkText(c.at("prefix"), p.Prefix)
	}
}

// checkPattern refuses "*" where it would be taken for more than it is, and patterns without one: who writes /users/{id} means something else.
func checkPattern(c check, pattern string) {
	rest, _ := strings.CutSuffix(pattern, "/**")
	for segment := range strings.SplitSeq(rest, "/") {
		if segment != "*" && strings.Contains(segment, "*") {
			c.fail(`"*" must be a whole segment, as in /users/*/orders, and "**" the last one`)
			return
		}
	}
	if !strings.Contains(pattern, "*") {
		c.fail(`has no "*", which is what stands for any segment; without one, write exact`)
		return
	}
	checkText(c, pattern)
}

// checkText refuses what no normalised path can ever be: the rule would never match, and its author believes it does.
func checkText(c check, pattern string) {
	if len(pattern) > maxPattern {
		c.fail("must be 512 characters long at most")
		return
	}
	switch fault := faultOf(pattern); fault {
	case "":
	case PathNotAbsolute:
		c.fail(`must start with "/"`)
	case PathDoubleEncoding:
		c.fail("is percent-encoded; write the character itself, as paths are matched after decoding")
	default:
		c.fail("can never match, because requests with such a path are refused: " + string(fault))
	}
}

// fill wants a rule that checkRule has nothing against.
func (p *Program) fill(r *rule, from Rule) {
	r.access = from.Access
	if from.Access == "" {
		r.access = AccessAuthenticated
	}
	for _, one := range from.Claims {
		r.requirements = append(r.requirements, p.questions.requirement(one))
	}
	for _, scope := range from.Scopes {
		r.scopes = append(r.scopes, p.questions.scope(scope))
	}
	r.scope = strings.Join(from.Scopes, " ")
}
