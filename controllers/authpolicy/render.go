package authpolicy

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/bundle"
	"github.com/latchkey-dev/latchkey/internal/keyset"
	"github.com/latchkey-dev/latchkey/internal/policyspec"
	"github.com/latchkey-dev/latchkey/internal/verify"
)

// accessTokenType is what our own token services put into typ (RFC 9068).
const accessTokenType = "at+jwt"

// problem is why a policy cannot be rendered: a condition reason, and a message. Each line of that begins with the path of a field.
type problem struct{ reason, message string }

func (p *problem) Error() string { return p.message }

// rendering is a bundle, ready to be written.
type rendering struct {
	document    []byte
	secret      bool // it holds shared secrets, or a private key
	certificate *bundle.Certificate
}

// render makes the bundle of a policy from what its issuers refer to, or says all that is in the way. It compiles every part with the very
// functions that the sidecar uses, so that what is written will be taken.
func render(spec v1alpha1.AuthPolicySpec, sources []source, shown certificate) (*rendering, []problem) {
	var problems []problem
	invalid := func(err error) {
		problems = append(problems, problem{v1alpha1.ReasonInvalid, err.Error()})
	}
	for _, err := range policyspec.Check(spec) {
		invalid(err)
	}
	b := &bundle.Bundle{Policy: policyspec.Document(spec), TokenSources: policyspec.TokenSources(spec), CORS: policyspec.CORS(spec)}
	b.AccessLog, b.Tracing = bundle.AccessLog(spec.AccessLog), spans(spec)
	traffic(b, spec)
	if b.Certificate = shown.found; shown.missing != nil {
		problems = append(problems, *shown.missing)
	}
	urls, deliveries := map[string]string{}, map[string]v1alpha1.RefreshTokenDelivery{} // by the TokenIssuer's name; the issuer's URL
	var verified []verify.Issuer
	for i, issuer := range spec.Issuers {
		if missing := sources[i].missing; missing != nil {
			problems = append(problems, problem{missing.reason, under(fmt.Sprintf("issuers[%d].", i), missing.message)})
			continue
		}
		rendered, err := renderIssuer(issuer, sources[i])
		if err != nil {
			invalid(fmt.Errorf("issuers[%d].keys: %w", i, err))
			continue
		}
		if ref := issuer.Keys.TokenIssuerRef; ref != nil {
			urls[ref.Name], deliveries[ref.Name] = rendered.URL, sources[i].delivery
		}
		b.Issuers = append(b.Issuers, rendered)
		verified = append(verified, verify.Issuer{
			URL: rendered.URL, Audiences: rendered.Audiences, Algorithms: rendered.Algorithms, TokenType: rendered.TokenType,
			ClockSkew: rendered.ClockSkew, Keys: sources[i].keys, Later: later(sources[i]),
		})
	}
	if len(problems) > 0 {
		return nil, problems // the rest would only repeat them, by other names
	}
	if _, err := verify.New(verified); err != nil {
		invalid(err)
	}
	if session := spec.Session; session != nil {
		if session.ServerRendered != nil && deliveries[session.TokenIssuerRef.Name] == v1alpha1.RefreshTokenInBody {
			invalid(errors.New("session.serverRendered: needs a TokenIssuer whose refreshToken.delivery is Cookie"))
		}
		b.Session = &bundle.Session{PathPrefix: session.PathPrefix, Issuer: urls[session.TokenIssuerRef.Name], TrustedProxies: session.TrustedProxies}
		if pages := session.ServerRendered; pages != nil {
			b.Session.ServerRendered = &bundle.ServerRendered{SignInPath: pages.SignInPath}
		}
	}
	encoded, err := b.Marshal()
	if err != nil {
		invalid(err)
	}
	if len(problems) > 0 {
		return nil, problems
	}
	return &rendering{document: encoded, secret: b.HasSecrets(), certificate: b.Certificate}, nil
}

// under puts a path before each line of a message.
func under(path, message string) string { return path + strings.ReplaceAll(message, "\n", "\n"+path) }

// later says that keys may be found later: those of a foreign issuer.
func later(from source) *atomic.Pointer[keyset.Set] {
	if from.foreign == nil {
		return nil
	}
	return &atomic.Pointer[keyset.Set]{}
}

func renderIssuer(spec v1alpha1.PolicyIssuer, from source) (bundle.Issuer, error) {
	var keys []byte // of a foreign issuer that was away ever since it is named: none
	if from.keys != nil {
		var err error
		if keys, err = from.keys.Marshal(); err != nil {
			return bundle.Issuer{}, err
		}
	}
	issuer := bundle.Issuer{
		URL:          spec.URL,
		Audiences:    spec.Audiences,
		TokenType:    spec.TokenType,
		Claims:       policyspec.Claims(spec),
		ClockSkew:    ptr.Deref(spec.ClockSkew, metav1.Duration{}).Duration, // the API server fills in the default
		Keys:         keys,
		Symmetric:    from.keys != nil && from.keys.Symmetric(),
		KeysFrom:     from.from,
		Foreign:      from.foreign,
		TokenService: from.service,
	}
	for _, algorithm := range spec.Algorithms {
		issuer.Algorithms = append(issuer.Algorithms, string(algorithm))
	}
	if from.service != nil {
		if spec.TokenType != "" && spec.TokenType != accessTokenType {
			return bundle.Issuer{}, errors.New("with tokenIssuerRef, tokenType is always " + accessTokenType)
		}
		issuer.URL, issuer.TokenType = from.url, accessTokenType
	}
	return issuer, nil
}
