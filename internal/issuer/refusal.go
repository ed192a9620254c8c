package issuer

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"
)

// Reason is why a request was refused. The texts are part of the interface: clients branch on them.
type Reason string

// The reasons. After 401 a client asks its user to sign in again; after 429 and 503 it tries again later, and its cookie is as good as it was.
const (
	ReasonMalformed          Reason = "malformed_request"
	ReasonCrossOrigin        Reason = "cross_origin"
	ReasonNotFound           Reason = "not_found"
	ReasonMethodNotAllowed   Reason = "method_not_allowed"
	ReasonInvalidCredentials Reason = "invalid_credentials"
	ReasonNoSession          Reason = "no_session"     // no cookie, or none that we made
	ReasonSessionEnded       Reason = "session_ended"  // idle, too old, or the user is gone
	ReasonReuseDetected      Reason = "reuse_detected" // a refresh token that had been replaced; the session is ended
	ReasonUnsupportedGrant   Reason = "unsupported_grant"
	ReasonInvalidScope       Reason = "invalid_scope"   // asked for more than the session has
	ReasonNetworkChanged     Reason = "network_changed" // the session was refreshed from another network, and is ended
	ReasonSessionLimit       Reason = "session_limit"   // the user is signed in on as many devices as they may
	ReasonInvalidToken       Reason = "invalid_token"   // no access token, or none that is good
	ReasonNoSidecar          Reason = "no_sidecar"
	ReasonNoSuchSession      Reason = "no_such_session"
	ReasonThrottled          Reason = "throttled" // too many sign-ins of this name or from this network
	ReasonLoginUnavailable   Reason = "login_unavailable"
	ReasonBusy               Reason = "busy"       // too many sign-ins at once
	ReasonOverloaded         Reason = "overloaded" // too many requests of any kind at once
	ReasonNotReady           Reason = "not_ready"
	ReasonUnavailable        Reason = "store_unavailable"
)

// refusal is an error that is meant for the client.
type refusal struct {
	status     int
	reason     Reason
	detail     string // for people; says nothing that the reason does not
	ended      bool   // the session is known to have ended, so its cookie goes; whoever lost a race must not wipe the winner's
	retryAfter int    // seconds; 0: do not say
	challenge  string // of WWW-Authenticate
	oauth      bool   // the client asked by OAuth, and is answered by it
}

func (r *refusal) Error() string { return string(r.reason) }

// reasonOf is what a client is told of an error.
func reasonOf(err error) Reason {
	var told *refusal
	if errors.As(err, &told) {
		return told.reason
	}
	return ReasonUnavailable
}

var (
	errInvalidCredentials = &refusal{status: http.StatusUnauthorized, reason: ReasonInvalidCredentials, detail: "user name or password is wrong"}
	errNoSession          = &refusal{status: http.StatusUnauthorized, reason: ReasonNoSession, detail: "sign in"}
	errSessionEnded       = &refusal{status: http.StatusUnauthorized, reason: ReasonSessionEnded, detail: "the session has ended; sign in again", ended: true}
	errReuseDetected      = &refusal{status: http.StatusUnauthorized, reason: ReasonReuseDetected, ended: true,
		detail: "this refresh token was used before, so the session was ended; sign in again"}
	errNetworkChanged = &refusal{status: http.StatusUnauthorized, reason: ReasonNetworkChanged, ended: true,
		detail: "this session was used from another network, so it was ended; sign in again"}
	errSessionLimit  = &refusal{status: http.StatusForbidden, reason: ReasonSessionLimit, detail: "signed in on too many devices; sign out on one of them"}
	errInvalidToken  = &refusal{status: http.StatusUnauthorized, reason: ReasonInvalidToken, detail: "a valid access token is needed", challenge: "Bearer"}
	errNoBackend     = &refusal{status: http.StatusUnauthorized, reason: ReasonInvalidToken, detail: "a ServiceAccount token of a trusted backend is needed", challenge: "Bearer"}
	errNoSidecar     = &refusal{status: http.StatusForbidden, reason: ReasonNoSidecar, detail: "only sidecars follow the stream"}
	errNoSuchSession = &refusal{status: http.StatusNotFound, reason: ReasonNoSuchSession, detail: "there is no such session of this user"}

	errLoginUnavailable = &refusal{status: http.StatusServiceUnavailable, reason: ReasonLoginUnavailable, detail: "passwords cannot be checked now; try again",
		retryAfter: 2}
	errUnsupportedGrant = &refusal{status: http.StatusBadRequest, reason: ReasonUnsupportedGrant, detail: "grant_type must be refresh_token"}
	errInvalidScope     = &refusal{status: http.StatusBadRequest, reason: ReasonInvalidScope, detail: "scope asks for more than the session has, or is malformed"}

	errBusy        = &refusal{status: http.StatusTooManyRequests, reason: ReasonBusy, detail: "too many sign-ins at once; try again", retryAfter: 1}
	errOverloaded  = &refusal{status: http.StatusServiceUnavailable, reason: ReasonOverloaded, detail: "too many requests at once; try again", retryAfter: 1}
	errNotReady    = &refusal{status: http.StatusServiceUnavailable, reason: ReasonNotReady, detail: "starting; try again", retryAfter: 1}
	errUnavailable = &refusal{status: http.StatusServiceUnavailable, reason: ReasonUnavailable, detail: "sessions cannot be read or written now; try again",
		retryAfter: 2}
)

// throttled asks to come again after some time.
func throttled(wait time.Duration) *refusal {
	return &refusal{status: http.StatusTooManyRequests, reason: ReasonThrottled, detail: "too many sign-ins; try again later",
		retryAfter: int((wait + time.Second - 1) / time.Second)}
}

func malformed(detail string) *refusal {
	return &refusal{status: http.StatusBadRequest, reason: ReasonMalformed, detail: detail}
}

// write answers with the refusal as problem details (RFC 9457), or as RFC 6749, section 5.2, has it.
func (r *refusal) write(w http.ResponseWriter) {
	var told any = struct {
		Title  string `json:"title"`
		Status int    `json:"status"`
		Reason Reason `json:"reason"`
		Detail string `json:"detail,omitempty"`
	}{http.StatusText(r.status), r.status, r.reason, r.detail}
	status, contentType := r.status, "application/problem+json"
	if r.oauth {
		told = struct {
			Error       string `json:"error"`
			Description string `json:"error_description,omitempty"`
		}{r.reason.oauthError(), r.detail}
		contentType = "application/json"
		if status == http.StatusUnauthorized && r.challenge == "" { // that status would ask for the client's own credentials, which there are none of
			status = http.StatusBadRequest
		}
	}
	body, err := json.Marshal(told)
	if err != nil { // strings and a number
		panic(err)
	}
	header := w.Header()
	header.Set("Content-Type", contentType)
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	if r.challenge != "" {
		header.Set("WWW-Authenticate", r.challenge)
	}
	if r.retryAfter > 0 {
		header.Set("Retry-After", strconv.Itoa(r.retryAfter))
	}
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // who has hung up needs no answer
}
