package v1alpha1

import "time"

// skewAllowance is how much longer than their ttl access tokens are taken, by verifiers whose clocks differ from ours.
const skewAllowance = time.Minute

// LeastRetain is the least retain of the SigningKey with which no access token outlives its key.
func (i *TokenIssuer) LeastRetain() time.Duration {
	return i.Spec.AccessToken.TTL.Duration + skewAllowance
}
