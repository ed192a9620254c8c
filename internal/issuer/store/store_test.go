package store_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/latchkey-dev/latchkey/internal/issuer/store"
)

func TestASessionIDIsWrittenAsInTokens(t *testing.T) {
	id := store.SessionID{0xfb, 0xff, 15: 1}
	const want = "-_8AAAAAAAAAAAAAAAAAAQ"
	var asJSON, asText bytes.Buffer
	slog.New(slog.NewJSONHandler(&asJSON, nil)).Info("hello", "sid", id)
	slog.New(slog.NewTextHandler(&asText, nil)).Info("hello", "sid", id)
	for _, tc := range []struct{ name, got, want string }{
		{"as a string", id.String(), want},
		{"in a JSON log", asJSON.String(), `"sid":"` + want + `"`},
		{"in a text log", asText.String(), "sid=" + want},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if !strings.Contains(tc.got, tc.want) {
				t.Errorf("got %s, want %s", tc.got, tc.want)
			}
		})
	}
}

func TestASessionsSecretCannotBePrinted(t *testing.T) {
	s := store.Session{ID: store.NewSessionID(), User: "alice", Secret: store.NewSecret()}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("hello", "session", s, "secret", s.Secret)
	asJSON, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	secret := s.Secret[:]
	numbers := strings.Trim(fmt.Sprintf("%d", secret), "[]")
	for _, printed := range []string{
		fmt.Sprintf("%v %+v %#v", s, s, s), fmt.Sprintf("%x %d %q %X %s", s.Secret, s.Secret, s.Secret, &s.Secret, s.Secret), log.String(), string(asJSON),
	} {
		for _, form := range []string{string(secret), hex.EncodeToString(secret), strings.ToUpper(hex.EncodeToString(secret)),
			numbers, strings.ReplaceAll(numbers, " ", ",")} {
			if strings.Contains(printed, form) {
				t.Errorf("printed: %s", printed)
			}
		}
		if !strings.Contains(printed, "[redacted]") {
			t.Errorf("does not say that something was left out: %s", printed)
		}
	}
}
