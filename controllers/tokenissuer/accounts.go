package tokenissuer

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"k8s.io/client-go/rest"
)

// lookAtAccounts is how often the keys of ServiceAccount tokens are read again. An API server that gets a new one takes tokens of the old
// one for as long as they live, an hour as a rule.
const lookAtAccounts = 5 * time.Minute

// Accounts says who signs the tokens of this cluster's ServiceAccounts.
type Accounts struct {
	Issuer string
	Keys   json.RawMessage // a JSON Web Key Set
}

// AccountsReader reads Accounts from the API server, which tells them as OpenID Connect Discovery has it.
type AccountsReader struct{ API rest.Interface }

// Read returns what the API server says.
func (r AccountsReader) Read(ctx context.Context) (Accounts, error) {
	get := func(path string) ([]byte, error) {
		body, err := r.API.Get().AbsPath(path).DoRaw(ctx)
		if err != nil {
			return nil, fmt.Errorf("read who signs ServiceAccount tokens: %w", err)
		}
		return body, nil
	}
	body, err := get("/.well-known/openid-configuration")
	if err != nil {
		return Accounts{}, err
	}
	var document struct {
		Issuer string `json:"issuer"`
	}
	if err = json.Unmarshal(body, &document); err != nil {
		return Accounts{}, fmt.Errorf("read who signs ServiceAccount tokens: %w", err)
	}
	keys, err := get("/openid/v1/jwks")
	return Accounts{Issuer: document.Issuer, Keys: keys}, err
}
