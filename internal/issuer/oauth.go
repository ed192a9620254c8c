package issuer

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"

	"github.com/latchkey-dev/latchkey/internal/issuer/config"
	"github.com/latchkey-dev/latchkey/internal/scope"
)

// The routes of this file speak OAuth: parameters come as forms, errors go as RFC 6749, section 5.2, has them.

// inOAuth lets a route refuse in the words of OAuth.
func inOAuth(serve func(http.ResponseWriter, *http.Request, *material) error) func(http.ResponseWriter, *http.Request, *material) error {
	return func(w http.ResponseWriter, r *http.Request, m *material) error {
		err := serve(w, r, m)
		var refused *refusal
		if errors.As(err, &refused) {
			told := *refused
			told.oauth = true
			return &told
		}
		return err
	}
}

// oauthError is the error of RFC 6749, section 5.2, that says the same as a reason.
func (r Reason) oauthError() string {
	switch r {
	case ReasonNoSession, ReasonSessionEnded, ReasonReuseDetected, ReasonNetworkChanged:
		return "invalid_grant"
	case ReasonUnsupportedGrant:
		return "unsupported_grant_type"
	case ReasonMalformed:
		return "invalid_request"
	default:
		return string(r) // the section allows others; these come with a status of their own
	}
}

// token is the token endpoint. Its one grant is that of refresh tokens, and only clients that have them in their hands can use it.
func (h *handler) token(w http.ResponseWriter, r *http.Request, m *material) error {
	if m.config.Delivery != config.DeliverInBody {
		return &refusal{status: http.StatusNotFound, reason: ReasonNotFound, detail: "refresh tokens travel by cookie here; POST /refresh"}
	}
	parameters, err := readForm(w, r)
	if err != nil {
		return err
	}
	switch grantType := parameters["grant_type"]; {
	case grantType == "":
		return malformed("grant_type is missing")
	case grantType != "refresh_token":
		return errUnsupportedGrant
	case parameters["refresh_token"] == "":
		return malformed("refresh_token is missing")
	}
	asked, err := scope.Parse(parameters["scope"])
	if err != nil {
		return errInvalidScope
	}
	device := h.deviceOf(r, m)
	g, err := h.sessions.refresh(r.Context(), m, parameters["refresh_token"], asked, device, h.auditFor(r, device))
	if err != nil {
		return err
	}
	return writeGrant(w, g)
}

// revoke ends the session of a token (RFC 7009), be it an access token or a refresh token: what a client gives up in one, it does not want to
// keep in the other. A token that is not good for anything is as good as revoked.
func (h *handler) revoke(w http.ResponseWriter, r *http.Request, m *material) error {
	parameters, err := readForm(w, r)
	if err != nil {
		return err
	}
	token := parameters["token"]
	if token == "" {
		return malformed("token is missing")
	}
	if err := h.sessions.revoke(r.Context(), m, token, h.auditFor(r, h.deviceOf(r, m))); err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
	return nil
}

// metadata is the document of RFC 8414 and OpenID Connect Discovery, of which one says all that there is to say: where the keys are, for those
// who verify tokens by themselves, and where tokens are renewed and revoked.
func (h *handler) metadata(w http.ResponseWriter, _ *http.Request, m *material) error {
	document := map[string]any{
		"issuer":              m.config.Issuer,
		"jwks_uri":            m.config.Issuer + routeKeys,
		"revocation_endpoint": m.config.Issuer + routeRevoke,
		"revocation_endpoint_auth_methods_supported": []string{"none"},
		"response_types_supported":                   []string{}, // there is no authorization endpoint
		"grant_types_supported":                      []string{},
		"subject_types_supported":                    []string{"public"},
		"id_token_signing_alg_values_supported":      m.keys.algorithms(),
	}
	if len(m.config.Scopes) > 0 {
		document["scopes_supported"] = m.config.Scopes // users may have others
	}
	if m.config.Delivery == config.DeliverInBody {
		document["token_endpoint"] = m.config.Issuer + routeToken
		document["token_endpoint_auth_methods_supported"] = []string{"none"}
		document["grant_types_supported"] = []string{"refresh_token"}
	}
	body, err := json.Marshal(document)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", cachePublic)
	_, _ = w.Write(append(body, '\n'))
	return nil
}

// algorithms are those of the published keys.
func (k *keys) algorithms() []string {
	names := make([]string, 0, len(k.published))
	for _, key := range k.published {
		names = append(names, key.Algorithm())
	}
	slices.Sort(names)
	return slices.Compact(names)
}
