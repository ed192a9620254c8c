package store_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
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

func TestSessionsAreEstimatedByASample(t *testing.T) {
	for _, many := range []int{0, 1, store.Sample - 1, store.Sample, 10_000, 100_000} {
		t.Run(fmt.Sprint(many), func(t *testing.T) {
			ids := make([]store.SessionID, many)
			for i := range ids {
				ids[i] = store.NewSessionID()
			}
			slices.SortFunc(ids, func(a, b store.SessionID) int { return bytes.Compare(a[:], b[:]) })
			read := min(many, store.Sample)
			var last store.SessionID
			if read > 0 {
				last = ids[read-1]
			}
			got, off := store.Estimate(read, last), many/5 // 10 times the standard error
			if read < store.Sample {
				off = 0
			}
			if got < many-off || got > many+off {
				t.Errorf("got %d, want %d, give or take %d", got, many, off)
			}
		})
	}
}
