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

func TestASessionsSecretCannotBePrinted(t *testing.T) {
	s := store.Session{ID: store.NewSessionID(), User: "alice", Secret: store.NewSecret()}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("hello", "session", s, "secret", s.Secret)
	asJSON, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	secret := s.Secret[:]
	for _, printed := range []string{
		fmt.Sprintf("%v %+v %#v", s, s, s), fmt.Sprintf("%x %d %q %X %s", s.Secret, s.Secret, s.Secret, &s.Secret, s.Secret), log.String(), string(asJSON),
	} {
		for _, form := range []string{string(secret), hex.EncodeToString(secret), strings.ToUpper(hex.EncodeToString(secret)),
			strings.Trim(fmt.Sprint(secret), "[]"), strings.ReplaceAll(strings.Trim(fmt.Sprint(secret), "[]"), " ", ",")} {
			if strings.Contains(printed, form) {
				t.Errorf("printed: %s", printed)
			}
		}
		if !strings.Contains(printed, "[redacted]") {
			t.Errorf("does not say that something was left out: %s", printed)
		}
	}
}
