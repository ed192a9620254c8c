// Package policyspec puts the spec of an AuthPolicy into the words of the packages that carry it out, and says what they have against it. The manager and
// the command line share it, so that both tell the same of one policy. What a spec refers to in a cluster it does not know.
package policyspec

import (
	"errors"
	"fmt"
	"slices"

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
	return slices.Concat(policy.Warnings(Document(spec)), logged)
}
