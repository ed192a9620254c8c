package verify

// Reason is why a token is refused. The values are stable: metrics, logs and clients rely on them.
type Reason string

const (
	// Malformed means that it is no compact JWS with a JSON object of claims, or a claim has a wrong type.
	Malformed Reason = "malformed"
	// Unsupported means that it asks for something that we do not do (crit, b64, zip, encryption), or for another algorithm than its key's.
	Unsupported Reason = "unsupported"
	// UnknownIssuer means that iss is none of the issuers that are trusted here.
	UnknownIssuer Reason = "unknown_issuer"
	// UnknownKey means that the issuer has no key of that kid.
	UnknownKey Reason = "unknown_key"
	// IssuerUnavailable means that no key of the issuer is known yet, so nobody can tell whether the token is good.
	IssuerUnavailable Reason = "issuer_unavailable"
	// KeyExpired means that the key is no longer trusted.
	KeyExpired Reason = "key_expired"
	// BadSignature means that the issuer's key did not sign it.
	BadSignature Reason = "bad_signature"
	// WrongType means that typ is another than the issuer's access tokens have.
	WrongType Reason = "wrong_type"
	// WrongAudience means that it is meant for somebody else.
	WrongAudience Reason = "wrong_audience"
	// BoundToken means that it is bound to a key that its bearer must prove to hold (cnf), so it is worth nothing as a plain bearer token.
	BoundToken Reason = "bound_token"
	// Expired means that its time is over.
	Expired Reason = "expired"
	// NotYetValid means that its time has not come.
	NotYetValid Reason = "not_yet_valid"
)

// A Refusal is the error for every token that is not taken. It holds nothing that the token said, so it is safe to log and to show.
type Refusal struct {
	Reason Reason
	Detail string // the same in words
	Issuer string // the URL of the trusted issuer whose keys did not verify it; empty where it did not come to that
}

func (r *Refusal) Error() string { return string(r.Reason) + ": " + r.Detail }

func refuse(reason Reason, detail string) *Refusal { return &Refusal{Reason: reason, Detail: detail} }
