package jwksource

import (
	"errors"
	"fmt"

	"github.com/latchkey-dev/latchkey/internal/strictjson"
)

// ParseDiscovery returns the jwks_uri of a discovery document (OpenID Connect Discovery 1.0 section 3, RFC 8414 section 2). Its issuer must be
// exactly the one that is asked after (section 4.3 there, 3.3 here): otherwise whoever can place a document anywhere on the issuer's host
// could speak for it.
func ParseDiscovery(data []byte, issuer string) (string, error) {
	document, err := strictjson.ParseObject(string(data))
	if err != nil {
		return "", errors.New("the discovery document is not strict JSON")
	}
	if said, ok := document["issuer"].(string); !ok || said != issuer {
		return "", fmt.Errorf("the discovery document is not of the issuer %q", issuer)
	}
	jwksURI, ok := document["jwks_uri"].(string)
	if !ok {
		return "", errors.New("the discovery document has no jwks_uri")
	}
	if err := checkURL(jwksURI); err != nil {
		return "", fmt.Errorf("jwks_uri in the discovery document %w", err)
	}
	return jwksURI, nil
}
