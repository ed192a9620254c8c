package credential_test

import (
	"errors"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/latchkey-dev/latchkey/internal/credential"
)

func withSession(t *testing.T, list ...credential.Source) *credential.Sources {
	t.Helper()
	sources, err := credential.Compile(list, func(string) bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	return sources.WithSession()
}

func TestCookieOfASessionCountsWhereThereIsNoOtherToken(t *testing.T) {
	sources := withSession(t)
	ofSession := credential.Found{Token: "a", Present: true, Ambient: true, Session: true}
	for _, tc := range []struct {
		name    string
		header  http.Header
		want    credential.Found
		wantErr error
	}{
		{"alone", http.Header{"Cookie": {"x=y; __Host-latchkey-access=a"}}, ofSession, nil},
		{"in a header of its own", http.Header{"Cookie": {"x=y", "__Host-latchkey-access=a; z"}}, ofSession, nil},
		{"beside another token", http.Header{"Cookie": {"__Host-latchkey-access=a"}, "Authorization": {"Bearer b"}}, credential.Found{Token: "b", Present: true}, nil},
		{"beside another scheme", http.Header{"Cookie": {"__Host-latchkey-access=a"}, "Authorization": {"Basic b"}}, ofSession, nil},
		{"empty", http.Header{"Cookie": {"__Host-latchkey-access="}}, credential.Found{}, nil},
		{"in another case", http.Header{"Cookie": {"__HOST-latchkey-access=a"}}, credential.Found{}, nil},
		{"with more at its end", http.Header{"Cookie": {"__Host-latchkey-access2=a"}}, credential.Found{}, nil},
		{"twice", http.Header{"Cookie": {"__Host-latchkey-access=a; __Host-latchkey-access=a"}}, credential.Found{}, credential.ErrSeveral},
		{"twice, one of them empty", http.Header{"Cookie": {"__Host-latchkey-access=a", "__Host-latchkey-access="}}, credential.Found{}, credential.ErrSeveral},
		{"with two refresh tokens", http.Header{"Cookie": {"__Host-latchkey-refresh=a; __Host-latchkey-refresh=b"}}, credential.Found{}, credential.ErrSeveral},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := sources.Find(tc.header, "")
			if !errors.Is(err, tc.wantErr) {
				t.Fatalf("got error %v, want %v", err, tc.wantErr)
			}
			if tc.wantErr == nil && got != tc.want {
				t.Errorf("got %+v, want %+v", got, tc.want)
			}
		})
	}
}

func TestTokenInACookieOfThePolicysCountsBeforeTheSession(t *testing.T) {
	got, err := withSession(t, credential.Source{Cookie: "token"}).Find(http.Header{"Cookie": {"__Host-latchkey-access=a; token=b"}}, "")
	if want := (credential.Found{Token: "b", Present: true, Ambient: true}); err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
}

func TestRenewedTokenIsTheOnlyOne(t *testing.T) {
	sources := withSession(t)
	rapid.Check(t, func(t *rapid.T) {
		cookies := rapid.SliceOf(rapid.SampledFrom([]string{
			"", "a=b", "__Host-latchkey-access=old", " __host-latchkey-access=x ;", "__Host-latchkey-refresh=r", "c=__Host-latchkey-access=q", "theme=dark; d",
		})).Draw(t, "cookies")
		header := http.Header{"Cookie": cookies, "Accept": {"*/*"}}
		before := header.Clone()
		with := credential.WithAccess(header, "new")
		if diff := cmp.Diff(header, before); diff != "" {
			t.Fatalf("the request itself was changed (-got +want):\n%s", diff)
		}
		if value, times := credential.Cookie(with, credential.AccessCookie); value != "new" || times != 1 {
			t.Fatalf("got %q %d times in %q, want the new token once", value, times, with["Cookie"])
		}
		if _, more := credential.Cookie(header, credential.RefreshCookie); more < 2 {
			if found, err := sources.Find(with, ""); err != nil || found.Token != "new" {
				t.Fatalf("got %+v, %v, want the new token", found, err)
			}
		}
	})
}
