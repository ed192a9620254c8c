package revocation

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"time"
)

// Leeway is how long after the expiry of the last access token of a session its entry stays in force: the 60 s of clock skew that a
// verifier may be configured to forgive.
const Leeway = time.Minute

// Entry revokes the access tokens of one session until the last of them has expired.
type Entry struct {
	Number int64     // position in the stream, from 1; there may be gaps where entries have run out
	Hash   string    // see SessionHash
	Until  time.Time // whole seconds; at least Leeway after the expiry of the last token that this entry revokes
}

// SessionHash is how a session is named in entries: base64url(SHA-256(issuer, NUL, sid)). The issuer is part of it so that the sets of
// two issuers can never speak for each other, and the hash keeps session ids out of files and streams.
func SessionHash(issuer, sid string) string {
	buf := make([]byte, 0, 256)
	buf = append(buf, issuer...)
	buf = append(buf, 0)
	buf = append(buf, sid...)
	sum := sha256.Sum256(buf)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

const hashLength = 43 // of a SHA-256 in base64url without padding

// check refuses an entry that could not be enforced: to skip it would be to accept what was revoked.
func (e Entry) check() error {
	switch {
	case e.Number < 1:
		return fmt.Errorf("number %d: must be at least 1", e.Number)
	case len(e.Hash) != hashLength:
		return errors.New("hash: must be a SHA-256 in base64url")
	case e.Until.Unix() <= 0 || e.Until.Year() > 9999:
		return errors.New("until: must be a time after 1970")
	case e.Until.Nanosecond() != 0:
		return errors.New("until: must be whole seconds")
	}
	if _, err := base64.RawURLEncoding.Strict().DecodeString(e.Hash); err != nil {
		return errors.New("hash: must be a SHA-256 in base64url")
	}
	return nil
}
