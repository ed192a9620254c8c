package gate

import (
	"github.com/latchkey-dev/latchkey/internal/policy"
	"github.com/latchkey-dev/latchkey/internal/verify"
)

// toldAs are the reasons that would tell callers more than what to do about them: whose tokens a policy takes, or which rules it has.
var toldAs = map[Reason]Reason{
	Reason(verify.Malformed):       ReasonInvalidToken,
	Reason(verify.Unsupported):     ReasonInvalidToken,
	Reason(verify.UnknownIssuer):   ReasonInvalidToken,
	Reason(verify.UnknownKey):      ReasonInvalidToken,
	Reason(verify.BadSignature):    ReasonInvalidToken,
	Reason(verify.WrongType):       ReasonInvalidToken,
	Reason(verify.WrongAudience):   ReasonInvalidToken,
	Reason(verify.BoundToken):      ReasonInvalidToken,
	Reason(policy.ClaimRuleNotMet): ReasonInvalidToken,
	Reason(policy.ClaimNotMapped):  ReasonInvalidToken,

	Reason(policy.ReasonExpressionFalse): Reason(policy.ReasonClaimsNotMet),
	Reason(policy.ReasonExpressionError): Reason(policy.ReasonClaimsNotMet),
	Reason(policy.ReasonNoRule):          Reason(policy.ReasonDenied),
}

// Told is what callers get to hear of a reason. Metrics, the log and the pod's recent decisions have the reason itself.
func (r Reason) Told() Reason {
	if told, other := toldAs[r]; other {
		return told
	}
	return r
}
