package explain

import (
	"fmt"
	"slices"
	"strings"
)

// Reason is what a reason code says. The table in docs/api/authpolicy.md is made of these.
type Reason struct {
	Code   string
	Told   string // what the caller was told instead; "" for the same
	Status string // usually; "" where nobody is refused
	Means  string
	Do     string
}

// about are all reasons, in the order of the documentation.
var about = []Reason{
	{"token_required", "", "401", "no token came, and the rule asks for one", "sign in; or let everybody pass with `access: Anonymous`"},
	{"expired", "", "401", "the token's time is over", "refresh, or sign in"},
	{"key_expired", "", "401", "the key that signed the token is trusted no more", "refresh, or sign in"},
	{"revoked", "", "401", "the token's session was ended", "sign in"},
	{"not_yet_valid", "", "401", "the token's `nbf` or `iat` is to come", "compare the clocks of issuer and node"},
	{"malformed", "invalid_token", "401", "the token is no signed JWT as RFC 7515 has them, or one of its claims has a wrong type", "mend the client, or the issuer"},
	{"unsupported", "invalid_token", "401", "the token asks for something that is not taken: `crit`, `zip`, encryption, or another algorithm than its key's", "mend the issuer"},
	{"unknown_issuer", "invalid_token", "401", "the token's `iss` is none of the policy's issuers", "compare it with `issuers`, letter by letter"},
	{"unknown_key", "invalid_token", "401", "the issuer has no key of the token's `kid`", "compare it with the issuer's key set; an issuer that rotates must publish a key before it signs"},
	{"bad_signature", "invalid_token", "401", "the issuer's key of that `kid` did not sign the token", "look for two issuers of one name, or a token that was changed on its way"},
	{"wrong_type", "invalid_token", "401", "the token's `typ` is not that of the issuer's access tokens: an ID token, perhaps", "send the access token; or compare `tokenType` of the issuer"},
	{"wrong_audience", "invalid_token", "401", "the token is meant for somebody else", "compare its `aud` with `audiences` of the issuer"},
	{"bound_token", "invalid_token", "401", "the token is bound to a key (`cnf`) that a bearer does not show", "ask the issuer for a bearer token"},
	{"claim_rule", "invalid_token", "401", "the token breaks a rule of its issuer", "the decision's `detail` says which of `claimValidationRules`"},
	{"claim_mapping", "invalid_token", "401", "the token's claims cannot be mapped", "the decision's `detail` says which of `claimMappings`"},
	{"issuer_unavailable", "", "503", "none of the issuer's keys could be fetched so far", "see the condition IssuersHealthy of the policy"},
	{"revocations_unknown", "", "503", "the token service has not been heard for longer than the policy bears", "look at the token service; `revocation.after` says how long"},
	{"claims_not_met", "", "403", "the token has not the claims that the rule asks for", "compare the token's claims with `claims` of the rule"},
	{"insufficient_scope", "", "403", "the token has not the scopes that the rule asks for", "ask the issuer for these; the challenge names them"},
	{"expression_false", "claims_not_met", "403", "the rule's expression is not true of this token and this request", "try it: `latchkey policy eval`"},
	{"expression_error", "claims_not_met", "403", "the rule's expression has no value here: a claim is missing or of another type, or it costs too much", "test for the claim first, with `has()`"},
	{"denied", "", "403", "the rule lets nobody pass", "a rule that lets some pass must stand before it"},
	{"no_rule", "denied", "403", "no rule matches, and the default is Deny", "add a rule"},
	{"cross_origin", "", "403", "the token came in a cookie, and a page of another origin may have caused the request", "name the origin in `cors`, if it is yours"},
	{"origin_refused", "", "403", "a preflight of an origin that is not in `cors.allowOrigins`", "name the origin there, if it is yours"},
	{"ambiguous_path", "", "400", "a path that two programs could read differently", "mend the client; the answer's `detail` says what is wrong with the path"},
	{"ambiguous_host", "", "400", "a Host that two programs could read differently", "mend the client"},
	{"host_missing", "", "400", "no Host", "mend the client"},
	{"method_refused", "", "400", "a method in small letters, or CONNECT", "mend the client"},
	{"several_credentials", "", "400", "two tokens, or one place for tokens twice", "mend the client; see `tokenSources`"},
	{"body_too_large", "", "413", "the body is beyond the limit", "`limits.maxBodyBytes`"},
	{"body_unreadable", "", "400", "the body broke off, or was not framed as it should be", "mend the client"},
	{"caller_stalled", "", "408", "the caller sent or took nothing for too long", "`limits.stallTimeout`"},
	{"no_such_route", "", "404", "nothing is there below the session prefix", "mend the client; see `session`"},
	{"method_not_allowed", "", "405", "the session route takes another method", "mend the client"},
	{"app_unreachable", "", "502", "nobody listens on the app's port", "look at the app; it must listen on 127.0.0.1 at that port"},
	{"app_failed", "", "502", "the app gave no proper answer", "look at the app's log, and the sidecar's"},
	{"app_untrusted", "", "502", "the app's certificate is not the one that the policy asks for", "compare it with `upstream.tls`"},
	{"app_timeout", "", "504", "the app did not begin to answer in time", "look at the app; `upstream.responseTimeout`"},
	{"overloaded", "", "503", "more requests at once than the limit", "more replicas, or `limits.maxRequests`"},
	{"no_policy", "", "503", "no bundle has come yet", "see the condition Ready of the policy"},
	{"token_service_unreachable", "", "503", "the token service did not answer a session route, or could not renew the session of a page", "look at the TokenIssuer and its pods"},
	{"access_token_too_long", "", "500", "browsers keep no cookie of more than 4096 bytes, so nobody can sign in", "have the TokenIssuer put fewer or shorter claims into access tokens"},
	{"token_refused", "", "", "only in decisions: a stream ended since the policy of now takes its token no more", "sign in"},
	{"anonymous", "", "", "let through: the rule lets everybody pass", ""},
	{"authenticated", "", "", "let through: the token is valid and has what the rule asks for", ""},
	{"preflight", "", "", "let through: an origin that `cors` names", ""},
	{"session_renewed", "", "", "let through: the browser is to ask once more, with the cookies of its renewed session", ""},
	{"session_route", "", "", "let through: answered by the token service", ""},
}

// Reasons are all that sidecars have.
func Reasons() []Reason { return slices.Clone(about) }

// ReasonOf returns what a code says; false for one of a sidecar that is newer than this.
func ReasonOf(code string) (Reason, bool) {
	at := slices.IndexFunc(about, func(r Reason) bool { return r.Code == code })
	if at < 0 {
		return Reason{}, false
	}
	return about[at], true
}

// Table is the table of the documentation, in Markdown.
func Table() string {
	var table strings.Builder
	table.WriteString("| reason | status | means | do |\n|---|---|---|---|\n")
	for _, r := range about {
		code := "`" + r.Code + "`"
		if r.Told != "" {
			code += " → `" + r.Told + "`"
		}
		fmt.Fprintf(&table, "| %s | %s | %s | %s |\n", code, r.Status, r.Means, r.Do)
	}
	return table.String()
}
