package bundle

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"

	strictjson "sigs.k8s.io/json"
)

// Parse reads a bundle strictly: member names in exactly this case, none unknown and none twice, nothing after the end, and every part fit
// for the others. The policy is compiled, and the key sets are judged, by those who use them.
func Parse(data []byte) (*Bundle, error) {
	if len(data) > MaxBytes {
		return nil, fmt.Errorf("larger than %d bytes", MaxBytes)
	}
	if !utf8.Valid(data) {
		return nil, errors.New("not UTF-8")
	}
	var b Bundle
	strict, err := strictjson.UnmarshalStrict(data, &b)
	if err != nil {
		return nil, fmt.Errorf("parse JSON: %w", err)
	}
	if len(strict) > 0 {
		return nil, errors.Join(strict...)
	}
	if err := b.check(); err != nil {
		return nil, err
	}
	return &b, nil
}

// Marshal writes a bundle for Parse, after the same checks. Equal bundles give equal bytes. The lines are indented because people read
// ConfigMaps.
func (b *Bundle) Marshal() ([]byte, error) {
	if err := b.check(); err != nil {
		return nil, err
	}

	// The outer fields hide those of the same names inside, and with them the redaction of key sets.
	type issuer struct {
		Issuer
		Keys json.RawMessage `json:"keys"`
	}
	type bundle struct {
		Bundle
		Issuers []issuer `json:"issuers,omitempty"`
	}
	written := bundle{Bundle: *b}
	for _, one := range b.Issuers {
		written.Issuers = append(written.Issuers, issuer{Issuer: one, Keys: json.RawMessage(one.Keys)})
	}

	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(written); err != nil {
		return nil, fmt.Errorf("write JSON: %w", err)
	}
	if out.Len() > MaxBytes {
		return nil, fmt.Errorf("larger than %d bytes", MaxBytes)
	}
	return out.Bytes(), nil
}
