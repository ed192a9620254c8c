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
	}
	for i, r := range d.Rules {
		checkRule(root.at("rules[%d]", i), r)
	}
	switch d.Default {
	case "":
		p.fallback.access = AccessDeny
	case AccessDeny, AccessAuthenticated:
	default:
		root.at("default").fail("must be Deny or Authenticated")
	}
	checkHeaders(root.at("forward.headers"), d.Headers)
	if len(errs) > 0 {
		return nil, errs
	}

	for i, r := range d.Rules {
		p.rules[i] = compileRule(r)
	}
	p.compilePaths(d.Rules)
	if len(p.headers) == 0 {
		p.headers = DefaultHeaders()
	}
	p.compileHeaders()
	return p, nil
}

func checkRule(c check, r Rule) {
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
		if len(r.Claims) > 0 {
			c.at("claims").fail("goes with access: Authenticated only")
		}
	default:
		c.at("access").fail("must be Anonymous, Authenticated or Deny")
	}
	for i, requirement := range r.Claims {
		if requirement.Claim == "" {
			c.at("claims[%d].claim", i).fail("must name a claim")
		}
		if len(requirement.AnyOf) == 0 {
			c.at("claims[%d].anyOf", i).fail("must list at least one value")
		}
	}
}

func checkPath(c check, p Path) {
	switch {
	case (p.Exact == "") == (p.Prefix == ""):
		c.fail("set exactly one of exact and prefix")
	case p.Exact != "":
		checkPattern(c.at("exact"), p.Exact)
	case p.Prefix != "/" && strings.HasSuffix(p.Prefix, "/"):
		c.at("prefix").fail(`must not end with "/": a prefix matches its own path and everything below it`)
	default:
		checkPattern(c.at("prefix"), p.Prefix)
	}
}

// checkPattern refuses what no normalised path can ever be: the rule would never match, and its author believes it does.
func checkPattern(c check, pattern string) {
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

func compileRule(r Rule) rule {
	compiled := rule{access: r.Access}
	if r.Access == "" {
		compiled.access = AccessAuthenticated
	}
	for _, one := range r.Claims {
		anyOf := make(map[string]struct{}, len(one.AnyOf))
		for _, value := range one.AnyOf {
			anyOf[value] = struct{}{}
		}
		compiled.requirements = append(compiled.requirements, requirement{claim: one.Claim, anyOf: anyOf})
	}
	return compiled
}
