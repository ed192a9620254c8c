// Package policyspec puts the spec of an AuthPolicy into the words of the packages that carry it out, and says what they have against it. The manager and
// the command line share it, so that both tell the same of one policy. What a spec refers to in a cluster it does not know.
package policyspec

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/credential"
	"github.com/latchkey-dev/latchkey/internal/crossorigin"
	"github.com/latchkey-dev/latchkey/internal/policy"
)

// Check says all that is wrong with a spec by itself, each error with its path.
func Check(spec v1alpha1.AuthPolicySpec) []error {
	program, err := policy.Compile(Document(spec))
	wrong := each(err)
	if program != nil {
		if _, err = credential.Compile(TokenSources(spec), program.MayCarryToken); err != nil {
			wrong = append(wrong, err)
		}
	}
	if _, err = crossorigin.Compile(CORS(spec)); err != nil {
		wrong = append(wrong, err)
	}
	for i, issuer := range spec.Issuers {
		_, err = policy.CompileClaims(Claims(issuer))
		for _, one := range each(err) {
			wrong = append(wrong, fmt.Errorf("issuers[%d].%w", i, one))
		}
	}
	return wrong
}

func each(err error) []error {
	var all policy.Errors
	switch {
	case err == nil:
		return nil
	case errors.As(err, &all):
		return all.Unwrap()
	}
	return []error{err}
}

// Warnings looks in a spec, against which Check has nothing, for what its author may not have meant.
func Warnings(spec v1alpha1.AuthPolicySpec) []policy.Warning {
	var logged []policy.Warning
	for i, source := range spec.TokenSources {
		if source.Query != "" {
			logged = append(logged, policy.Warning{
				Path: fmt.Sprintf("tokenSources[%d].query", i), Reason: v1alpha1.ReasonTokensInURLs, Message: "proxies and browsers write URLs down, and so tokens",
			})
		}
	}
	return slices.Concat(policy.Warnings(Document(spec)), logged, signInWarnings(spec))
}

// signInWarnings looks whether somebody who is not signed in can see the page where they could.
func signInWarnings(spec v1alpha1.AuthPolicySpec) []policy.Warning {
	if spec.Session == nil || spec.Session.ServerRendered == nil {
		return nil
	}
	document := Document(spec)
	program, err := policy.Compile(document)
	if err != nil {
		return nil // against which Check has something
	}
	hosts := []string{"any.invalid"}
	for _, rule := range document.Rules {
		for _, host := range rule.Hosts {
			hosts = append(hosts, strings.Replace(host, "*", "any", 1))
		}
	}
	for _, host := range hosts {
		asked := policy.Request{Method: http.MethodGet, Host: host, Path: spec.Session.ServerRendered.SignInPath, Header: http.Header{}}
		if program.Decide(asked, nil).Allow {
			return nil
		}
	}
	return []policy.Warning{{
		Path: "session.serverRendered.signInPath", Reason: v1alpha1.ReasonSignInPageGuarded, Message: "no rule lets everybody see it, so nobody can sign in; add one with access Anonymous",
	}}
}
