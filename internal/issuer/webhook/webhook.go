// Package webhook asks the app's own credential check who is signing in. It knows one exchange over HTTPS, signed as Standard Webhooks has
// it (standardwebhooks.com), so that libraries of every language can check the signature; it knows neither sessions nor tokens.
package webhook

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/latchkey-dev/latchkey/internal/base64url"
	"github.com/latchkey-dev/latchkey/internal/issuer/config"
	"github.com/latchkey-dev/latchkey/internal/issuer/users"
	"github.com/latchkey-dev/latchkey/internal/strictjson"
	"github.com/latchkey-dev/latchkey/internal/tracing"
)

// ErrRefused says that the app does not let them sign in. Whether it was the name or the password, it does not tell.
var ErrRefused = errors.New("refused by the webhook")

// ErrBusy says that the app wants no attempts now.
var ErrBusy = errors.New("the webhook is busy")

// ErrUnfit says that the app answered, and not as it should. It may have looked at the password all the same.
var ErrUnfit = errors.New("webhook: unfit answer")

const (
	// maxAnswer is far more than the claims of one user may have.
	maxAnswer = 64 << 10
	// maxConnections bounds how many sign-ins ask at once.
	maxConnections = 64
)

// Client asks one webhook. It is safe for use by many goroutines.
type Client struct {
	url  string
	http *http.Client
}

// New returns a Client for a webhook of a configuration that was accepted.
func New(o *config.Webhook) *Client {
	trust := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.CertificateAuthority != "" {
		trust.RootCAs = x509.NewCertPool()
		trust.RootCAs.AppendCertsFromPEM([]byte(o.CertificateAuthority)) // the configuration was checked; and an empty pool trusts nobody
	}
	return &Client{url: o.URL, http: &http.Client{
		Timeout: o.Timeout,
		Transport: &http.Transport{
			TLSClientConfig: trust, ForceAttemptHTTP2: true, MaxConnsPerHost: maxConnections, MaxIdleConnsPerHost: maxConnections,
			IdleConnTimeout: 30 * time.Second, MaxResponseHeaderBytes: 16 << 10,
		},
		// Credentials go to the URL that was configured, and nowhere else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Close lets go of idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Attempt is what the webhook is told: the body of the request, as JSON.
type Attempt struct {
	Username  string `json:"username"`
	Password  string `json:"password"`
	Address   string `json:"address"`    // of the client
	UserAgent string `json:"user_agent"` // of the client

	Trace http.Header `json:"-"` // the sign-in's place in a trace, which the webhook is told by the same headers
}

// Ask returns who has signed in, and what their tokens shall say. The webhook answers 200 with {"username":"...","claims":{...}}, in which
// the name may be another spelling of the one that was typed: it becomes sub. 401 and 403 are ErrRefused, 429 is ErrBusy. Any other answer
// is an error that repeats nothing of it, nor of the attempt: ErrUnfit, but for 5xx, by which an app says that it did not get so far.
func (c *Client) Ask(ctx context.Context, secrets Secrets, a Attempt, now time.Time) (*users.User, error) {
	body, err := json.Marshal(a) //nolint:gosec // it is what the webhook is asked about
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	var random [16]byte
	rand.Read(random[:])
	id, timestamp := "msg_"+base64url.Encode(random[:]), strconv.FormatInt(now.Unix(), 10)
	request.Header = http.Header{
		"Content-Type":      {"application/json"},
		"Accept":            {"application/json"},
		"User-Agent":        {"latchkey-issuer"},
		"Webhook-Id":        {id},
		"Webhook-Timestamp": {timestamp},
		"Webhook-Signature": {secrets.sign(id, timestamp, body)},
	}
	tracing.Pass(a.Trace, request.Header)
	answer, err := c.http.Do(request)
	if err != nil {
		var failed *url.Error
		if errors.As(err, &failed) {
			err = failed.Err // it would name the URL, which may have a secret of its own in its query
		}
		return nil, fmt.Errorf("webhook: %w", err)
	}
	defer answer.Body.Close()
	switch status := answer.StatusCode; {
	case status == http.StatusOK:
		user, err := identity(answer)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrUnfit, err)
		}
		return user, nil
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return nil, ErrRefused
	case status == http.StatusTooManyRequests:
		return nil, ErrBusy
	case status >= http.StatusInternalServerError:
		return nil, fmt.Errorf("webhook: answers with status %d", status)
	default:
		return nil, fmt.Errorf("%w: status %d", ErrUnfit, status)
	}
}

func identity(answer *http.Response) (*users.User, error) {
	if kind, _, err := mime.ParseMediaType(answer.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return nil, errors.New("its Content-Type is not application/json")
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	if err != nil {
		return nil, err
	}
	if len(body) > maxAnswer {
		return nil, fmt.Errorf("it has more than %d bytes", maxAnswer)
	}
	var told struct {
		Username string                     `json:"username"`
		Claims   map[string]json.RawMessage `json:"claims"`
	}
	if strictjson.Unmarshal(body, &told) != nil {
		return nil, errors.New(`it must be {"username":"...","claims":{...}}`)
	}
	user, err := users.Vet(told.Username, told.Claims)
	if err != nil {
		return nil, err
	}
	return user, nil
}
