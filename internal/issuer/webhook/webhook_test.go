package webhook_test

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/latchkey-dev/latchkey/internal/issuer/config"
	"github.com/latchkey-dev/latchkey/internal/issuer/webhook"
)

const (
	secret    = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	newSecret = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oDAAAAAAAAAAA="
)

var attempt = webhook.Attempt{Username: "Alice", Password: "hunter2 of alice", Address: "192.0.2.7", UserAgent: "phone"}

// ask runs a webhook and asks it.
func ask(t *testing.T, answer http.HandlerFunc, change func(*config.Webhook)) (name string, claims map[string]json.RawMessage, err error) {
	t.Helper()
	server := httptest.NewTLSServer(answer)
	t.Cleanup(server.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	options := config.Webhook{URL: server.URL + "/check?key=in-the-url", CertificateAuthority: string(ca), Timeout: 5 * time.Second}
	if change != nil {
		change(&options)
	}
	client := webhook.New(&options)
	t.Cleanup(client.Close)
	secrets, err := webhook.ParseSecrets([]byte(secret + "\n" + newSecret + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	user, err := client.Ask(context.Background(), secrets, attempt, time.Now())
	if err != nil {
		return "", nil, err
	}
	return user.Name, user.Claims, nil
}

func says(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func TestWebhookLearnsWhoSignsInAndSaysWhoItIs(t *testing.T) {
	var told webhook.Attempt
	var refused []error
	name, claims, err := ask(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		// The app checks the signature by a library that nobody here wrote, with either secret.
		for _, each := range []string{secret, newSecret} {
			library, err := standardwebhooks.NewWebhook(each)
			if err != nil {
				t.Error(err)
				return
			}
			refused = append(refused, library.Verify(body, r.Header), library.Verify(append(body, ' '), r.Header))
		}
		if err := json.Unmarshal(body, &told); err != nil {
			t.Error(err)
		}
		says(http.StatusOK, `{"username":"alice","claims":{"roles": ["admin"]}}`)(w, r)
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(told, attempt); diff != "" {
		t.Errorf("what the webhook was told (-got +want):\n%s", diff)
	}
	for i, err := range refused {
		if changed := i%2 == 1; (err != nil) != changed {
			t.Errorf("signature %d: got %v, want it refused only for a body that was changed", i, err)
		}
	}
	if name != "alice" || string(claims["roles"]) != `["admin"]` || len(claims) != 1 {
		t.Errorf("got %s with claims %s, want alice with roles", name, claims)
	}
}

func TestAnswersOfAWebhook(t *testing.T) {
	for _, tc := range []struct {
		name   string
		answer http.HandlerFunc
		is     error
		want   string
	}{
		{name: "401 refuses", answer: says(401, `{"username":"alice"}`), is: webhook.ErrRefused},
		{name: "403 refuses", answer: says(403, ``), is: webhook.ErrRefused},
		{name: "429 is busy", answer: says(429, ``), is: webhook.ErrBusy},
		{name: "204 says nothing", answer: says(204, ``), is: webhook.ErrUnfit, want: "webhook: unfit answer: status 204"},
		{name: "404 is none", answer: says(404, `no such page`), is: webhook.ErrUnfit, want: "webhook: unfit answer: status 404"},
		{name: "500 is a fault", answer: says(500, `secret stack trace`), want: "webhook: answers with status 500"},
		{
			name: "a redirect is not followed, as it would take the password along", answer: http.RedirectHandler("https://evil.example/", http.StatusTemporaryRedirect).ServeHTTP,
			is: webhook.ErrUnfit, want: "webhook: unfit answer: status 307",
		},
		{name: "no name", answer: says(200, `{"claims":{}}`), is: webhook.ErrUnfit, want: "webhook: unfit answer: username: must have 1 to 256 bytes"},
		{
			name: "a claim that is ours to say", answer: says(200, `{"username":"alice","claims":{"iss":"x"}}`),
			is: webhook.ErrUnfit, want: "webhook: unfit answer: claims.iss: is the token service's own to say",
		},
		{name: "a member twice", answer: says(200, `{"username":"alice","username":"bob"}`), is: webhook.ErrUnfit, want: `webhook: unfit answer: it must be {"username":"...","claims":{...}}`},
		{name: "a member that nobody knows", answer: says(200, `{"username":"alice","ok":false}`), is: webhook.ErrUnfit, want: `webhook: unfit answer: it must be {"username":"...","claims":{...}}`},
		{name: "no JSON", answer: says(200, `yes`), is: webhook.ErrUnfit, want: `webhook: unfit answer: it must be {"username":"...","claims":{...}}`},
		{name: "another type", answer: func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"username":"alice"}`) }, is: webhook.ErrUnfit, want: "webhook: unfit answer: its Content-Type is not application/json"},
		{name: "an answer without end", answer: says(200, strings.Repeat(" ", 65<<10)), is: webhook.ErrUnfit, want: "webhook: unfit answer: it has more than 65536 bytes"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, _, err := ask(t, tc.answer, nil)
			if err == nil {
				t.Fatal("got a user, want an error")
			}
			if tc.is != nil && !errors.Is(err, tc.is) || tc.is == nil && err.Error() != tc.want {
				t.Errorf("got %v, want %v%s", err, tc.is, tc.want)
			}
		})
	}
}

func TestWebhookThatCannotBeTrustedIsToldNothing(t *testing.T) {
	asked := false
	_, _, err := ask(t, func(http.ResponseWriter, *http.Request) { asked = true }, func(o *config.Webhook) { o.CertificateAuthority = "" })
	if err == nil || asked {
		t.Errorf("got error %v and asked %v, want an error and nothing told", err, asked)
	}
	if strings.Contains(err.Error(), "in-the-url") || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("the error tells secrets: %v", err)
	}
}

func TestWebhookThatDoesNotAnswerIsWaitedForNoLongerThanTheTimeout(t *testing.T) {
	over := make(chan struct{})
	defer close(over)
	_, _, err := ask(t, func(http.ResponseWriter, *http.Request) { <-over }, func(o *config.Webhook) { o.Timeout = 50 * time.Millisecond })
	if err == nil || errors.Is(err, webhook.ErrRefused) {
		t.Errorf("got %v, want an error that is no refusal", err)
	}
}

func TestSecretsAreRefused(t *testing.T) {
	for _, tc := range []struct{ name, file string }{
		{"none", "\n"},
		{"three", secret + "\n" + secret + "\n" + secret},
		{"without the prefix", strings.TrimPrefix(secret, "whsec_")},
		{"too short", "whsec_c2hvcnQ="},
		{"no base64", "whsec_hunter2 of alice"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := webhook.ParseSecrets([]byte(tc.file))
			if err == nil {
				t.Fatal("accepted")
			}
			if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "c2hvcnQ") {
				t.Errorf("the error tells the secret: %v", err)
			}
		})
	}
}

func TestSecretsCannotBePrinted(t *testing.T) {
	secrets, err := webhook.ParseSecrets([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	asJSON, err := json.Marshal(secrets)
	if err != nil {
		t.Fatal(err)
	}
	for _, got := range []string{fmt.Sprintf("%v", secrets), fmt.Sprintf("%+v", secrets), fmt.Sprintf("%#v", secrets), fmt.Sprintf("%x", secrets), secrets.LogValue().String(), strings.Trim(string(asJSON), `"`)} {
		if got != "[redacted]" {
			t.Errorf("got %q, want [redacted]", got)
		}
	}
}
