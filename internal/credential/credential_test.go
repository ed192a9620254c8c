package credential_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/latchkey-dev/latchkey/internal/credential"
)

// everywhere has a source of each kind.
var everywhere = []credential.Source{{Header: "Authorization"}, {Header: "X-Access-Token"}, {Cookie: "access_token"}, {Query: "token"}, {WebSocketProtocol: "bearer"}}

func compile(t testing.TB, list ...credential.Source) *credential.Sources {
	t.Helper()
	sources, err := credential.Compile(list, func(name string) bool { return !strings.EqualFold(name, "Host") })
	if err != nil {
		t.Fatal(err)
	}
	return sources
}

func TestTokenIsFoundAndTakenOutAndTheRestStaysByteForByte(t *testing.T) {
	tests := []struct {
		name    string
		header  http.Header
		query   string
		want    credential.Found
		rest    http.Header
		restURL string
	}{
		{"nothing", http.Header{"Accept": {"*/*"}}, "a=1", credential.Found{}, http.Header{"Accept": {"*/*"}}, "a=1"},
		{"the Bearer scheme", http.Header{"Authorization": {"bEARER  abc"}}, "", credential.Found{Token: "abc", Present: true}, http.Header{}, ""},
		{"another scheme is no token", http.Header{"Authorization": {"Basic abc"}}, "", credential.Found{}, http.Header{"Authorization": {"Basic abc"}}, ""},
		{"a scheme that begins alike is none", http.Header{"Authorization": {"BearerX abc"}}, "", credential.Found{}, http.Header{"Authorization": {"BearerX abc"}}, ""},
		{"a scheme without a token", http.Header{"Authorization": {"Bearer"}}, "", credential.Found{Present: true}, http.Header{}, ""},
		{"what some apps take for a space", http.Header{"Authorization": {"Bearer\tabc"}}, "", credential.Found{Token: "\tabc", Present: true}, http.Header{}, ""},
		{"a header of its own", http.Header{"X-Access-Token": {"abc"}}, "", credential.Found{Token: "abc", Present: true}, http.Header{}, ""},
		{"as CGI spells it", http.Header{"X_access_token": {"abc"}}, "", credential.Found{Token: "abc", Present: true}, http.Header{}, ""},
		{
			"a cookie among others", http.Header{"Cookie": {"a=1;access_token=abc; b=\"2 \""}}, "", credential.Found{Token: "abc", Present: true, Ambient: true},
			http.Header{"Cookie": {"a=1; b=\"2 \""}}, "",
		},
		{
			"the first cookie, in a header of its own", http.Header{"Cookie": {"access_token=abc; a=1", "b=2"}}, "",
			credential.Found{Token: "abc", Present: true, Ambient: true}, http.Header{"Cookie": {"a=1", "b=2"}}, "",
		},
		{
			"a cookie in another spelling", http.Header{"Cookie": {"a=1; Access%5FToken=abc"}}, "", credential.Found{Token: "abc", Present: true, Ambient: true},
			http.Header{"Cookie": {"a=1"}}, "",
		},
		{"a cookie that was cleared", http.Header{"Cookie": {"access_token="}}, "", credential.Found{}, http.Header{}, ""},
		{"a cleared cookie beside a token", http.Header{"Cookie": {"access_token="}}, "token=abc", credential.Found{Token: "abc", Present: true}, http.Header{}, ""},
		{"a parameter alone", http.Header{}, "token=abc", credential.Found{Token: "abc", Present: true}, http.Header{}, ""},
		{"a parameter among others", http.Header{}, "a=%zz&token=abc&&b=2;c", credential.Found{Token: "abc", Present: true}, http.Header{}, "a=%zz&&b=2;c"},
		{"the first parameter", http.Header{}, "token=abc&a=1&", credential.Found{Token: "abc", Present: true}, http.Header{}, "a=1&"},
		{"a parameter encoded", http.Header{}, "a=1&%74oken=abc", credential.Found{Token: "abc", Present: true}, http.Header{}, "a=1"},
		{"a parameter as Rails spells lists", http.Header{}, "token%5B%5D=abc&a[]=1", credential.Found{Token: "abc", Present: true}, http.Header{}, "a[]=1"},
		{"a parameter behind a plus", http.Header{}, "+Token=abc", credential.Found{Token: "abc", Present: true}, http.Header{}, ""},
		{"a parameter behind a semicolon", http.Header{}, "a=1;token=abc", credential.Found{Token: "abc", Present: true}, http.Header{}, "a=1"},
		{"a longer name is another", http.Header{}, "tokens=a&my_token=b&token_=c", credential.Found{}, http.Header{}, "tokens=a&my_token=b&token_=c"},
		{
			"a WebSocket protocol", http.Header{"Sec-Websocket-Protocol": {"chat, Bearer , abc", "v2"}}, "", credential.Found{Token: "abc", Present: true},
			http.Header{"Sec-Websocket-Protocol": {"chat, v2"}}, "",
		},
		{"a WebSocket protocol alone", http.Header{"Sec-Websocket-Protocol": {"bearer,abc"}}, "", credential.Found{Token: "abc", Present: true}, http.Header{}, ""},
		{
			"the name without a token behind it", http.Header{"Sec-Websocket-Protocol": {"chat, bearer"}}, "", credential.Found{},
			http.Header{"Sec-Websocket-Protocol": {"chat, bearer"}}, "",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			sources := compile(t, everywhere...)
			got, err := sources.Find(test.header, test.query)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(got, test.want); diff != "" {
				t.Errorf("got -, want +:\n%s", diff)
			}
			query := sources.Remove(test.header, test.query)
			if diff := cmp.Diff(test.header, test.rest); diff != "" {
				t.Errorf("got -, want + of what stays:\n%s", diff)
			}
			if query != test.restURL {
				t.Errorf("got query %q, want %q", query, test.restURL)
			}
		})
	}
}

func TestTwoTokensAreRefusedInEverySpelling(t *testing.T) {
	tests := []struct {
		name   string
		header http.Header
		query  string
	}{
		{"two Authorization headers, whatever is in them", http.Header{"Authorization": {"Basic a", "Digest b"}}, ""},
		{"a header and another", http.Header{"Authorization": {"Bearer a"}, "X-Access-Token": {"b"}}, ""},
		{"a header twice", http.Header{"X-Access-Token": {"a", "a"}}, ""},
		{"a header twice, once empty", http.Header{"X-Access-Token": {"a", ""}}, ""},
		{"a header in two spellings", http.Header{"X-Access-Token": {"a"}, "X_access-Token": {"a"}}, ""},
		{"a header and a cookie", http.Header{"Authorization": {"Bearer a"}, "Cookie": {"access_token=b"}}, ""},
		{"a cookie twice", http.Header{"Cookie": {"access_token=a; access_token=b"}}, ""},
		{"a cookie twice, once cleared", http.Header{"Cookie": {"access_token=; access_token=b"}}, ""},
		{"a cookie in two headers", http.Header{"Cookie": {"access_token=a", "access_token=b"}}, ""},
		{"a cookie in another case", http.Header{"Cookie": {"access_token=a; ACCESS_token=b"}}, ""},
		{"a cookie as PHP reads it", http.Header{"Cookie": {"access_token=a; access.token=b"}}, ""},
		{"a cookie encoded", http.Header{"Cookie": {"access_token=a; access%5ftoken=b"}}, ""},
		{"a cookie behind a comma", http.Header{"Cookie": {"access_token=a; x=1,access_token=b"}}, ""},
		{"a cookie in quotes", http.Header{"Cookie": {`access_token=a; x="; access_token=b"`}}, ""},
		{"a cookie with space round its equals sign", http.Header{"Cookie": {"access_token=a; access_token = b"}}, ""},
		{"a cookie behind white space", http.Header{"Cookie": {"access_token=a; x=1 access_token=b"}}, ""},
		{"a parameter twice", http.Header{}, "token=a&token=b"},
		{"a parameter twice, once encoded", http.Header{}, "token=a&tok%65n=b"},
		{"a parameter twice, once as a list", http.Header{}, "token=a&token[]=b"},
		{"a parameter twice, once in brackets", http.Header{}, "token=a&[token]=b"},
		{"a parameter twice, once cut at NUL", http.Header{}, "token=a&token%00x=b"},
		{"a parameter twice, once behind a space", http.Header{}, "token=a&%20token=b"},
		{"a parameter twice, once before a plus", http.Header{}, "token=a&token+=b"},
		{"a parameter twice, once in capital letters", http.Header{}, "token=a&TOKEN=b"},
		{"a parameter and a cookie", http.Header{"Cookie": {"access_token=a"}}, "token=b"},
		{"a WebSocket protocol twice", http.Header{"Sec-Websocket-Protocol": {"bearer, a, bearer, b"}}, ""},
		{"a WebSocket protocol and a parameter", http.Header{"Sec-Websocket-Protocol": {"bearer, a"}}, "token=b"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if found, err := compile(t, everywhere...).Find(test.header, test.query); !errors.Is(err, credential.ErrSeveral) {
				t.Errorf("got %+v and error %v, want ErrSeveral", found, err)
			}
		})
	}
}

func TestWhatIsNoSourceIsTheAppsBusiness(t *testing.T) {
	header := http.Header{"Authorization": {"Bearer a"}, "X-Access-Token": {"b"}, "Cookie": {"access_token=c"}}
	sources := compile(t, credential.Source{Cookie: "session"})
	if found, err := sources.Find(header, "token=d"); found.Present || err != nil {
		t.Errorf("got %+v and error %v, want nothing", found, err)
	}
	before := header.Clone()
	if query := sources.Remove(header, "token=d"); query != "token=d" || cmp.Diff(header, before) != "" {
		t.Errorf("got %v and query %q, want both as they were", header, query)
	}
}

func TestDefaultIsTheAuthorizationHeader(t *testing.T) {
	found, err := compile(t).Find(http.Header{"Authorization": {"Bearer a"}, "Cookie": {"access_token=c"}}, "token=d")
	if err != nil || found.Token != "a" {
		t.Errorf("got %+v and error %v, want the header's", found, err)
	}
}

func TestCompileTellsAllThatIsWrong(t *testing.T) {
	_, err := credential.Compile([]credential.Source{
		{}, {Header: "a", Cookie: "b"}, {Header: "X Y"}, {Header: "Host"}, {Cookie: "a b"}, {Cookie: "__Secure-latchkey-refresh"}, {Query: "a"}, {Query: "A"},
		{WebSocketProtocol: "a,b"},
	}, func(name string) bool { return name != "Host" })
	if err == nil {
		t.Fatal("got no error")
	}
	var paths []string
	for line := range strings.Lines(err.Error()) {
		path, _, _ := strings.Cut(line, ":")
		paths = append(paths, path)
	}
	want := []string{
		"tokenSources", "tokenSources[0]", "tokenSources[1]", "tokenSources[2].header", "tokenSources[3].header", "tokenSources[4].cookie", "tokenSources[5].cookie",
		"tokenSources[7].query", "tokenSources[8].webSocketProtocol",
	}
	if diff := cmp.Diff(paths, want); diff != "" {
		t.Errorf("got -, want +:\n%s", diff)
	}
}

// Whatever is sent, nothing of a source is left once it was removed, and removing touches nothing where there is none.
func FuzzNothingIsFoundWhereItWasRemoved(f *testing.F) {
	for _, seed := range [][3]string{
		{"a=1; access_token=x", "token=y&a=1", "bearer, z"}, {"access%5ftoken", "%74oken[]=;", "bearer"}, {" ,access_token =", "&;&token", ",bearer,,"},
		{`a="; access_token=x`, "a&+token", "bearer,bearer,bearer"}, {"\x00access_token", "token%00%", "BEARER ,x"},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	f.Fuzz(func(t *testing.T, cookie, query, protocols string) {
		sources := compile(t, everywhere...)
		header := http.Header{"Cookie": {cookie}, "Sec-Websocket-Protocol": {protocols}, "Accept": {"*/*"}}
		if _, err := sources.Find(header, query); err != nil {
			return // refused: nothing of it is forwarded
		}
		rest := sources.Remove(header, query)
		if again, err := sources.Find(header, rest); err != nil || again.Present {
			t.Errorf("got %+v and error %v after it was removed, want nothing", again, err)
		}
	})
}

func BenchmarkFind(b *testing.B) {
	header := http.Header{"Authorization": {"Bearer abc"}, "Cookie": {"a=1; b=2; c=3; access_token=; d=4"}, "Accept": {"*/*"}, "User-Agent": {"test"}}
	for name, list := range map[string][]credential.Source{"authorization alone": nil, "a source of each kind": everywhere} {
		b.Run(name, func(b *testing.B) {
			sources := compile(b, list...)
			b.ReportAllocs()
			for b.Loop() {
				if found, err := sources.Find(header, "a=1&b=2&c=3"); err != nil || !found.Present {
					b.Fatal(found, err)
				}
			}
		})
	}
}

func TestFindAllocatesNothing(t *testing.T) {
	header := http.Header{"Authorization": {"Bearer abc"}, "Cookie": {"a=1; b=2; c=3; access_token=; d=4"}, "Accept": {"*/*"}}
	for _, list := range [][]credential.Source{nil, everywhere} {
		sources := compile(t, list...)
		got := testing.AllocsPerRun(100, func() {
			if found, err := sources.Find(header, "a=1&b=2&c=3"); err != nil || !found.Present {
				t.Fatal(found, err)
			}
		})
		if got != 0 {
			t.Errorf("got %v allocations with %d sources, want 0", got, len(list))
		}
	}
}
