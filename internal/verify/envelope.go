package verify

import (
	"bytes"
	"slices"
	"strings"
	"time"

	"github.com/latchkey-dev/latchkey/internal/base64url"
	"github.com/latchkey-dev/latchkey/internal/keyset"
	"github.com/latchkey-dev/latchkey/internal/strictjson"
)

// MaxTokenBytes is the size above which a token is refused unread. Larger headers do not survive most proxies.
const MaxTokenBytes = 16 << 10

// Envelope is a compact JWS that has been taken apart. Nothing in it is to be trusted before Check.
type Envelope struct {
	Header
	Payload string

	spelled      string // the header as it came
	signingInput []byte
	signature    []byte
}

// Header is what counts of a token's header.
type Header struct {
	Algorithm string // alg, in the name that package keyset has for it
	KeyID     string // kid, or empty
	Type      string // typ, or empty
}

// Open takes a token apart (RFC 7515 section 5.2, compact only). There is one spelling of a token: what Open takes, it takes byte for byte. The
// error is a *Refusal.
func Open(token string) (*Envelope, error) {
	e := new(Envelope)
	if r := e.open(token, new([]byte), new(headers)); r != nil {
		return nil, r
	}
	return e, nil
}

// open reads into space, which then holds what Check needs; nothing else of the envelope is in it. A header that is known is not read again.
func (e *Envelope) open(token string, space *[]byte, known *headers) *Refusal {
	if len(token) > MaxTokenBytes {
		return refuse(Malformed, "the token is too long")
	}
	switch strings.Count(token, ".") {
	case 2:
	case 4:
		return refuse(Unsupported, "the token has five parts, as encrypted ones have")
	default:
		return refuse(Malformed, "the token does not have three parts")
	}
	// One copy, of which the signing input is a part: the check is over the bytes that came in. What is decoded comes behind it, and is shorter.
	*space = append(slices.Grow((*space)[:0], 2*len(token)), token...)
	data := *space
	first, last := bytes.IndexByte(data, '.'), bytes.LastIndexByte(data, '.')

	decoded, err := base64url.AppendDecode(data[len(data):], data[first+1:last])
	if err != nil {
		return refuse(Malformed, "the payload is not canonical base64url")
	}
	e.Payload = string(decoded)
	if e.signature, err = base64url.AppendDecode(decoded[len(decoded):], data[last+1:]); err != nil {
		return refuse(Malformed, "the signature is not canonical base64url")
	}
	e.spelled, e.signingInput = token[:first], data[:last]
	if header := known.find(e.spelled); header != nil {
		e.Header = *header
		return nil
	}
	return e.read(e.spelled)
}

func (h *Header) read(spelled string) *Refusal {
	decoded, err := base64url.Decode(spelled)
	if err != nil {
		return refuse(Malformed, "the header is not canonical base64url")
	}
	header, err := strictjson.ParseObject(string(decoded))
	if err != nil {
		return refuse(Malformed, "the header is not a strict JSON object")
	}
	// Everything else that a header may hold is allowed and ignored, above all jwk, jku, x5u and x5c: a token does not choose who is believed.
	for _, name := range [...]string{"crit", "b64", "zip", "enc"} {
		if _, present := header[name]; present {
			return refuse(Unsupported, "the header asks for "+name)
		}
	}
	for _, field := range [...]struct {
		name string
		into *string
	}{{"alg", &h.Algorithm}, {"kid", &h.KeyID}, {"typ", &h.Type}} {
		value, present := header[field.name]
		if !present {
			continue
		}
		var ok bool
		if *field.into, ok = value.(string); !ok || *field.into == "" {
			return refuse(Malformed, field.name+" in the header is not a string, or empty")
		}
	}
	algorithm, known := keyset.CanonicalAlgorithm(h.Algorithm)
	if !known {
		return refuse(Unsupported, "alg in the header is no algorithm that is taken")
	}
	h.Algorithm = algorithm
	return nil
}

// Check returns the key of the set that signed the envelope, or a *Refusal. The key decides about the algorithm; the envelope may only agree.
func (e *Envelope) Check(set *keyset.Set, now time.Time) (*keyset.Key, error) {
	key, r := e.check(set, now)
	if r != nil {
		return nil, r
	}
	return key, nil
}

func (e *Envelope) check(set *keyset.Set, now time.Time) (*keyset.Key, *Refusal) {
	key, ok := set.Lookup(e.KeyID)
	if !ok {
		return nil, refuse(UnknownKey, "the issuer has no such key")
	}
	if key.Algorithm() != e.Algorithm {
		return nil, refuse(Unsupported, "alg in the header is not the key's")
	}
	if end := key.NotAfter(); !end.IsZero() && !now.Before(end) {
		return nil, refuse(KeyExpired, "the key is no longer trusted")
	}
	if key.Verify(e.signingInput, e.signature) != nil {
		return nil, refuse(BadSignature, "the signature does not match")
	}
	return key, nil
}
