package crossorigin_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/latchkey-dev/latchkey/internal/crossorigin"
)

func compile(t *testing.T, d *crossorigin.Document) *crossorigin.Policy {
	t.Helper()
	p, err := crossorigin.Compile(d)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// request takes headers as "Name: value".
func request(t *testing.T, method string, headers ...string) *http.Request {
	t.Helper()
	r, err := http.NewRequest(method, "http://app.example/orders", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		r.Header.Add(name, value)
	}
	return r
}

var shop = crossorigin.Document{
	AllowOrigins: []string{"https://shop.example", "http://localhost:3000"}, AllowMethods: []string{"PUT", "DELETE"}, AllowHeaders: []string{"Authorization", "Content-Type"},
	ExposeHeaders: []string{"X-Total"}, AllowCredentials: true, MaxAgeSeconds: 600,
}

func TestAnswersSayWhatOtherOriginsMayDo(t *testing.T) {
	public := crossorigin.Document{AllowOrigins: []string{"*"}}
	app := http.Header{"Access-Control-Allow-Origin": {"https://evil.example"}, "Access-Control-Max-Age": {"1"}, "Vary": {"Accept-Encoding"}}
	varied := http.Header{"Vary": {"Accept-Encoding", "Origin"}}
	tests := []struct {
		name   string
		policy *crossorigin.Document
		r      *http.Request
		answer http.Header
		want   http.Header
	}{
		{"without a policy the app's word stands", nil, request(t, "GET", "Origin: https://shop.example"), app, app},
		{
			"a listed origin", &shop, request(t, "GET", "Origin: https://shop.example"), app,
			http.Header{
				"Access-Control-Allow-Origin": {"https://shop.example"}, "Access-Control-Allow-Credentials": {"true"}, "Access-Control-Expose-Headers": {"X-Total"},
				"Vary": {"Accept-Encoding", "Origin"},
			},
		},
		{
			"its preflight", &shop, request(t, "OPTIONS", "Origin: http://localhost:3000", "Access-Control-Request-Method: PUT"), http.Header{},
			http.Header{
				"Access-Control-Allow-Origin": {"http://localhost:3000"}, "Access-Control-Allow-Credentials": {"true"}, "Access-Control-Allow-Methods": {"PUT, DELETE"},
				"Access-Control-Allow-Headers": {"Authorization, Content-Type"}, "Access-Control-Max-Age": {"600"}, "Vary": {"Origin"},
			},
		},
		{"no origin", &shop, request(t, "GET"), app, varied},
		{"another origin", &shop, request(t, "GET", "Origin: https://evil.example"), app, varied},
		{"another scheme", &shop, request(t, "GET", "Origin: http://shop.example"), app, varied},
		{"another port", &shop, request(t, "GET", "Origin: https://shop.example:444"), app, varied},
		{"a longer name", &shop, request(t, "GET", "Origin: https://shop.example.evil.example"), app, varied},
		{"a name below it", &shop, request(t, "GET", "Origin: https://a.shop.example"), app, varied},
		{"capital letters, which no browser sends", &shop, request(t, "GET", "Origin: https://SHOP.example"), app, varied},
		{"null", &shop, request(t, "GET", "Origin: null"), app, varied},
		{"two origins", &shop, request(t, "GET", "Origin: https://shop.example", "Origin: https://evil.example"), app, varied},
		{
			"every origin", &public, request(t, "GET", "Origin: https://any.example"), http.Header{"Vary": {"Accept, ORIGIN"}},
			http.Header{"Access-Control-Allow-Origin": {"*"}, "Vary": {"Accept, ORIGIN"}},
		},
		{"every origin is not null", &public, request(t, "GET", "Origin: null"), http.Header{"Vary": {"*"}}, http.Header{"Vary": {"*"}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := test.answer.Clone()
			compile(t, test.policy).Describe(got, test.r)
			if diff := cmp.Diff(got, test.want); diff != "" {
				t.Errorf("got -, want +:\n%s", diff)
			}
		})
	}
}

func TestPreflightIsWhatABrowserSendsAndNothingElse(t *testing.T) {
	tests := []struct {
		name   string
		policy *crossorigin.Document
		r      *http.Request
		want   bool
	}{
		{"all three", &shop, request(t, "OPTIONS", "Origin: https://evil.example", "Access-Control-Request-Method: PUT"), true},
		{"without a policy", nil, request(t, "OPTIONS", "Origin: https://shop.example", "Access-Control-Request-Method: PUT"), false},
		{"another method", &shop, request(t, "GET", "Origin: https://shop.example", "Access-Control-Request-Method: PUT"), false},
		{"without an origin", &shop, request(t, "OPTIONS", "Access-Control-Request-Method: PUT"), false},
		{"without the method asked for", &shop, request(t, "OPTIONS", "Origin: https://shop.example"), false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := compile(t, test.policy).IsPreflight(test.r); got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

func TestCookiesCountWhereTheUserAskedForTheRequest(t *testing.T) {
	readOnly := shop
	readOnly.AllowCredentials = false
	tests := []struct {
		name   string
		policy *crossorigin.Document
		r      *http.Request
		want   bool
	}{
		{"reading", nil, request(t, "GET", "Sec-Fetch-Site: cross-site"), true},
		{"the app's own page", nil, request(t, "POST", "Sec-Fetch-Site: same-origin", "Origin: https://app.example"), true},
		{"what the user typed", nil, request(t, "POST", "Sec-Fetch-Site: none"), true},
		{"a program", nil, request(t, "POST"), true},
		{"another site", nil, request(t, "POST", "Sec-Fetch-Site: cross-site", "Origin: https://evil.example"), false},
		{"a neighbour", nil, request(t, "DELETE", "Sec-Fetch-Site: same-site", "Origin: https://blog.example"), false},
		{"an older browser, the app's own page", nil, request(t, "POST", "Origin: https://app.example"), true},
		{"an older browser, another site", nil, request(t, "POST", "Origin: https://evil.example"), false},
		{"an older browser, another port", nil, request(t, "POST", "Origin: https://app.example:8443"), false},
		{"an older browser, a sandboxed frame", nil, request(t, "POST", "Origin: null"), false},
		{"an origin with credentials", &shop, request(t, "POST", "Sec-Fetch-Site: cross-site", "Origin: https://shop.example"), true},
		{"an origin without", &readOnly, request(t, "POST", "Sec-Fetch-Site: cross-site", "Origin: https://shop.example"), false},
		{"a handshake of another site", nil, request(t, "GET", "Upgrade: websocket", "Origin: https://evil.example"), false},
		{"a handshake of the app's own page", nil, request(t, "GET", "Upgrade: websocket", "Origin: https://app.example"), true},
		{"a handshake of an origin with credentials", &shop, request(t, "GET", "Upgrade: websocket", "Origin: https://shop.example"), true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := compile(t, test.policy).Trusts(test.r); got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

func TestCompileTellsAllThatIsWrong(t *testing.T) {
	wrong := crossorigin.Document{
		AllowOrigins: []string{
			"*", "null", "https://shop.example/", "https://*.shop.example", "https://Shop.example", "https://shop.example:443", "shop.example", "https://u@shop.example",
			"https://shop.example", "http://[::1]:3000", "capacitor://localhost",
		},
		AllowMethods: []string{"put"}, AllowHeaders: []string{"*"}, ExposeHeaders: []string{"a b"}, AllowCredentials: true, MaxAgeSeconds: 86401,
	}
	_, err := crossorigin.Compile(&wrong)
	if err == nil {
		t.Fatal("got no error")
	}
	var paths []string
	for line := range strings.Lines(err.Error()) {
		path, _, _ := strings.Cut(line, ":")
		paths = append(paths, strings.TrimPrefix(path, "cors."))
	}
	want := []string{
		"allowOrigins[0]", "allowOrigins[1]", "allowOrigins[2]", "allowOrigins[3]", "allowOrigins[4]", "allowOrigins[5]", "allowOrigins[6]", "allowOrigins[7]",
		"allowMethods[0]", "allowHeaders[0]", "exposeHeaders[0]", "maxAge",
	}
	if diff := cmp.Diff(paths, want); diff != "" {
		t.Errorf("got -, want +:\n%s", diff)
	}
	for _, each := range []crossorigin.Document{{}, {AllowOrigins: []string{"*", "https://shop.example"}}} {
		if _, err := crossorigin.Compile(&each); err == nil {
			t.Errorf("got no error for %v, want one", each.AllowOrigins)
		}
	}
}
