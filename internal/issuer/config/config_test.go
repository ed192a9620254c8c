package config_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/latchkey-dev/latchkey/internal/issuer/config"
)

const valid = `{
  "version": 1,
  "issuer": "https://auth.example.com",
  "audiences": [
    "shop",
    "billing"
  ],
  "scopes": [
    "orders:read",
    "profile"
  ],
  "accessTokenTTL": "5m0s",
  "idleLifetime": "168h0m0s",
  "absoluteLifetime": "720h0m0s",
  "reuseWindow": "10s",
  "delivery": "Cookie",
  "maxSessionsPerUser": 5,
  "onLimit": "EndOldest",
  "ipBinding": "Log",
  "login": {
    "webhook": {
      "url": "https://shop.example.com/check",
      "timeout": "5s"
    },
    "backends": {
      "issuer": "https://kubernetes.default.svc",
      "keys": {
        "keys": []
      },
      "subjects": [
        "system:serviceaccount:shop:backend"
      ]
    }
  }
}
`

func TestParse(t *testing.T) {
	got, err := config.Parse([]byte(valid))
	if err != nil {
		t.Fatal(err)
	}
	want := &config.Config{
		Issuer:             "https://auth.example.com",
		Audiences:          []string{"shop", "billing"},
		Scopes:             []string{"orders:read", "profile"},
		AccessTokenTTL:     5 * time.Minute,
		IdleLifetime:       7 * 24 * time.Hour,
		AbsoluteLifetime:   30 * 24 * time.Hour,
		ReuseWindow:        10 * time.Second,
		Delivery:           config.DeliverByCookie,
		MaxSessionsPerUser: 5,
		OnLimit:            config.EndOldest,
		IPBinding:          config.IPBindingLog,
		Login: config.Login{
			Webhook: &config.Webhook{URL: "https://shop.example.com/check", Timeout: 5 * time.Second},
			Backends: &config.Backends{
				Issuer: "https://kubernetes.default.svc", Keys: json.RawMessage("{\n        \"keys\": []\n      }"),
				Subjects: []string{"system:serviceaccount:shop:backend"},
			},
		},
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("config (-got +want):\n%s", diff)
	}
	data, err := got.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(data), valid); diff != "" {
		t.Errorf("written again (-got +want):\n%s", diff)
	}
}

func TestParseRefuses(t *testing.T) {
	for _, tc := range []struct {
		name, replace, by, want string
	}{
		{"another version", `"version": 1`, `"version": 2`, "version: must be 1, not 2"},
		{"an unknown field", `"reuseWindow"`, `"reusewindow"`, "reusewindow: unknown field"},
		{"a missing duration", `  "reuseWindow": "10s",`, ``, `reuseWindow: must be a duration like "5m", not ""`},
		{"a number for a duration", `"10s"`, `10`, "reuseWindow: must be a string, not a number"},
		{"an issuer with a trailing slash", `example.com"`, `example.com/"`, "issuer: must be an http or https URL of at most 512 characters without user, query, fragment or trailing slash"},
		{"an issuer with a password", `//auth`, `//a:b@auth`, "issuer: must be an http or https URL of at most 512 characters without user, query, fragment or trailing slash"},
		{"no audience", `"shop",
    "billing"`, ``, "audiences: must be 1 to 16, not 0"},
		{"an audience twice", `"billing"`, `"shop"`, "audiences[1]: given twice"},
		{"a scope twice", `"profile"`, `"orders:read"`, "scopes[1]: given twice"},
		{"two scopes in one", `"profile"`, `"orders write"`, "scopes[1]: must be one scope: 1 to 128 visible ASCII characters, without a quotation mark or backslash"},
		{"a long-lived access token", `"5m0s"`, `"2h"`, "accessTokenTTL: must be between 10s and 1h0m0s, not 2h0m0s"},
		{"an access token that outlives the session", `"168h0m0s"`, `"4m"`, "idleLifetime: must be longer than accessTokenTTL (5m0s), not 4m0s"},
		{"an idle lifetime beyond the absolute one", `"720h0m0s"`, `"24h"`, "absoluteLifetime: must be between idleLifetime (168h0m0s) and 8784h0m0s, not 24h0m0s"},
		{"a reuse window of minutes", `"10s"`, `"5m"`, "reuseWindow: must be between 0s and 1m0s, not 5m0s"},
		{"refresh tokens by both ways", `"Cookie"`, `"Both"`, `delivery: must be Cookie or Body, not "Both"`},
		{"another end of too many sessions", `"EndOldest"`, `"EndAll"`, `onLimit: must be EndOldest or Refuse, not "EndAll"`},
		{"another binding", `"Log"`, `"Sometimes"`, `ipBinding: must be Off, Log or Reauthenticate, not "Sometimes"`},
		{"two who know the users", `"login": {`, `"login": {"users": true,`, "login.webhook: users is there as well, and one of them knows the users"},
		{"a webhook that takes its time", `"timeout": "5s"`, `"timeout": "1m"`, "login.webhook.timeout: must be more than nothing and at most 10s, not 1m0s"},
		{"a webhook without time", `"timeout": "5s"`, `"timeout": ""`, `login.webhook.timeout: must be a duration like "5m", not ""`},
		{"a webhook without URL", `"https://shop.example.com/check"`, `""`, "login.webhook.url: must be an https URL without user and fragment"},
		{"a webhook that everybody can listen to", `"https://shop`, `"http://shop`, "login.webhook.url: must be an https URL without user and fragment"},
		{"a webhook with a password in its URL", `"https://shop`, `"https://a:b@shop`, "login.webhook.url: must be an https URL without user and fragment"},
		{"a webhook that nothing vouches for", `"timeout": "5s"`, `"timeout": "5s", "certificateAuthority": "x"`, "login.webhook.certificateAuthority: holds no PEM certificate"},
		{"backends of nobody", `"https://kubernetes.default.svc"`, `""`, "login.backends.issuer: is missing"},
		{"no backend", `
        "system:serviceaccount:shop:backend"`, ``, "login.backends.subjects: is missing"},
		{"no sessions at all", `"maxSessionsPerUser": 5`, `"maxSessionsPerUser": 0`, "maxSessionsPerUser: must be between 1 and 100, not 0"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			in := strings.Replace(valid, tc.replace, tc.by, 1)
			if in == valid {
				t.Fatalf("%q is not in the valid document", tc.replace)
			}
			_, err := config.Parse([]byte(in))
			if err == nil {
				t.Fatal("accepted")
			}
			if got := err.Error(); got != tc.want {
				t.Errorf("error:\n got %s\nwant %s", got, tc.want)
			}
		})
	}
}

func TestParseTellsEveryFault(t *testing.T) {
	in := strings.NewReplacer(`"5m0s"`, `"1s"`, `"10s"`, `"2m"`, `"billing"`, `""`).Replace(valid)
	_, err := config.Parse([]byte(in))
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"audiences[1]: ", "accessTokenTTL: ", "reuseWindow: "} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not mention %q: %v", want, err)
		}
	}
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		duration := func(name string, from, to time.Duration) time.Duration {
			return time.Duration(rapid.Int64Range(int64(from), int64(to)).Draw(t, name))
		}
		c := &config.Config{
			Issuer:             "https://auth.example.com/" + rapid.StringMatching(`[a-z]{1,20}`).Draw(t, "path"),
			Audiences:          rapid.SliceOfNDistinct(rapid.StringMatching(`.{1,60}`), 1, 16, rapid.ID[string]).Draw(t, "audiences"),
			AccessTokenTTL:     duration("ttl", config.MinAccessTokenTTL, config.MaxAccessTokenTTL),
			Scopes:             rapid.OneOf(rapid.Just([]string(nil)), rapid.SliceOfNDistinct(rapid.StringMatching(`[!#-\[\]-~]{1,60}`), 1, 16, rapid.ID[string])).Draw(t, "scopes"),
			ReuseWindow:        duration("window", 0, config.MaxReuseWindow),
			Delivery:           rapid.SampledFrom([]config.Delivery{config.DeliverByCookie, config.DeliverInBody}).Draw(t, "delivery"),
			MaxSessionsPerUser: rapid.IntRange(1, config.MaxSessions).Draw(t, "sessions"),
			OnLimit:            rapid.SampledFrom([]config.OnLimit{config.EndOldest, config.Refuse}).Draw(t, "onLimit"),
			IPBinding:          rapid.SampledFrom([]config.IPBinding{config.IPBindingOff, config.IPBindingLog, config.IPBindingReauthenticate}).Draw(t, "binding"),
			Login:              config.Login{Users: true},
		}
		c.IdleLifetime = duration("idle", max(c.AccessTokenTTL+1, config.MinIdleLifetime), config.MaxAbsoluteLifetime)
		c.AbsoluteLifetime = duration("absolute", c.IdleLifetime, config.MaxAbsoluteLifetime)
		data, err := c.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		got, err := config.Parse(data)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(got, c); diff != "" {
			t.Errorf("read again (-got +want):\n%s", diff)
		}
	})
}
