package policyspec

import (
	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/policy"
)

// Document is the part of a spec that is about requests, in the words of package policy.
func Document(spec v1alpha1.AuthPolicySpec) policy.Document {
	d := policy.Document{
		Mode:      policy.Mode(spec.Mode),
		Default:   policy.Access(spec.Default),
		KeepToken: spec.Forward.Token == v1alpha1.TokenKeep,
	}
	for _, header := range spec.Forward.Headers {
		d.Headers = append(d.Headers, policy.Header{Name: header.Name, Claim: header.Claim})
	}
	for _, rule := range spec.Rules {
		r := policy.Rule{
			Hosts: rule.Hosts, Methods: rule.Methods, Access: policy.Access(rule.Access), Scopes: rule.Scopes, Expression: rule.Expression,
		}
		for _, path := range rule.Paths {
			r.Paths = append(r.Paths, policy.Path{Exact: path.Exact, Prefix: path.Prefix, Pattern: path.Pattern})
		}
		for _, claim := range rule.Claims {
			r.Claims = append(r.Claims, policy.Requirement{Claim: claim.Claim, AnyOf: claim.AnyOf})
		}
		d.Rules = append(d.Rules, r)
	}
	return d
}

// Claims is the part of an issuer that is about claims, in the words of package policy.
func Claims(issuer v1alpha1.PolicyIssuer) policy.ClaimDocument {
	var d policy.ClaimDocument
	for _, rule := range issuer.ClaimValidationRules {
		d.Rules = append(d.Rules, policy.ClaimRule{
			Claim: rule.Claim, RequiredValue: rule.RequiredValue, Expression: rule.Expression, Message: rule.Message,
		})
	}
	for _, mapping := range issuer.ClaimMappings {
		d.Mappings = append(d.Mappings, policy.ClaimMapping{Name: mapping.Name, Claim: mapping.Claim, Expression: mapping.Expression})
	}
	return d
}
