package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
)

// SecretFile is the name of the file with the secrets, in its Secret.
const SecretFile = "secret"

// prefix begins a secret (Standard Webhooks), so that one that was leaked is recognised for what it is.
const prefix = "whsec_"

// The bounds of a secret in bytes, and of how many there may be: the one that is in use and the one that comes, while it is replaced.
const (
	minSecret  = 24
	maxSecret  = 64
	maxSecrets = 2
)

// Secrets authenticate requests. Whoever has one can ask in the token service's name, so they cannot be printed.
type Secrets struct{ keys [][]byte }

// ParseSecrets reads the file: one or two secrets, each on its own line and as whsec_ and base64 of 24 to 64 bytes. With two every request
// carries two signatures, so that the app can go over from one to the other. The error repeats nothing of the file.
func ParseSecrets(data []byte) (Secrets, error) {
	lines := strings.Fields(string(data))
	if len(lines) < 1 || len(lines) > maxSecrets {
		return Secrets{}, errors.New("must hold one secret, or two while they change, each on its own line")
	}
	var parsed Secrets
	for i, line := range lines {
		encoded, ok := strings.CutPrefix(line, prefix)
		key, err := base64.StdEncoding.Strict().DecodeString(encoded)
		if !ok || err != nil || len(key) < minSecret || len(key) > maxSecret {
			return Secrets{}, fmt.Errorf("line %d: must be %s and base64 of %d to %d random bytes, as from `echo %s$(openssl rand -base64 32)`",
				i+1, prefix, minSecret, maxSecret, prefix)
		}
		parsed.keys = append(parsed.keys, key)
	}
	return parsed, nil
}

// Empty reports whether there are none.
func (s Secrets) Empty() bool { return len(s.keys) == 0 }

// sign returns the header Webhook-Signature.
func (s Secrets) sign(id, timestamp string, body []byte) string {
	signatures := make([]string, 0, len(s.keys))
	for _, key := range s.keys {
		tag := hmac.New(sha256.New, key)
		_, _ = fmt.Fprintf(tag, "%s.%s.", id, timestamp) // a hash takes everything
		_, _ = tag.Write(body)
		signatures = append(signatures, "v1,"+base64.StdEncoding.EncodeToString(tag.Sum(nil)))
	}
	return strings.Join(signatures, " ")
}

const redacted = "[redacted]"

// String hides the secrets.
func (Secrets) String() string { return redacted }

// Format hides the secrets from every verb.
func (Secrets) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalText hides the secrets, also from JSON.
func (Secrets) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue hides the secrets.
func (Secrets) LogValue() slog.Value { return slog.StringValue(redacted) }
