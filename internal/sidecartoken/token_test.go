package sidecartoken_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/latchkey-dev/latchkey/internal/sidecartoken"
)

func TestTokenIsBelievedByWhoHasTheSame(t *testing.T) {
	token := sidecartoken.New()
	read, err := sidecartoken.Parse(token.Encode() + "\n")
	if err != nil {
		t.Fatal(err)
	}
	shown := http.Header{}
	token.Show(shown)
	twice := shown.Clone()
	for name := range twice {
		twice[name] = append(twice[name], twice[name]...)
	}
	other := http.Header{}
	sidecartoken.New().Show(other)
	for _, tc := range []struct {
		name   string
		token  sidecartoken.Token
		header http.Header
		want   bool
	}{
		{"the same", read, shown, true},
		{"another", read, other, false},
		{"none", read, http.Header{}, false},
		{"the same twice", read, twice, false},
		{"any, while none is known", sidecartoken.Token{}, shown, false},
		{"none, while none is known", sidecartoken.Token{}, http.Header{}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := tc.token.ShownBy(tc.header); got != tc.want {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for _, text := range []string{"", "short", strings.Repeat("A", 44), strings.Repeat("A", 42) + "=", strings.Repeat("!", 43)} {
		if _, err := sidecartoken.Parse(text); err == nil {
			t.Errorf("%q is accepted", text)
		}
	}
}

func TestTokenCannotBePrinted(t *testing.T) {
	token := sidecartoken.New()
	asJSON, err := json.Marshal(token)
	if err != nil {
		t.Fatal(err)
	}
	for _, got := range []string{fmt.Sprintf("%v", token), fmt.Sprintf("%+v", token), fmt.Sprintf("%#v", token), fmt.Sprintf("%x", token),
		strings.Trim(string(asJSON), `"`), token.LogValue().String()} {
		if got != "[redacted]" {
			t.Errorf("got %q, want [redacted]", got)
		}
	}
}
