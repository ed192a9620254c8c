package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

func TestARequestIsACommandThatCanBeTyped(t *testing.T) {
	for _, test := range []struct {
		name    string
		request request
		want    string
	}{
		{"a bare path", request{Path: "$APP/"}, `curl -i $APP/`},
		{"variables stay variables", as("$ACCESS"), `curl -i $APP/ -H "Authorization: Bearer $ACCESS"`},
		{"what has none is quoted as it is", request{Path: "$APP/", Headers: []string{"X-Name: it's"}}, `curl -i $APP/ -H 'X-Name: it'\''s'`},
		{"JSON makes it a POST", alice, `curl -i $APP/auth/login --json '{"username":"alice","password":"wonderland"}'`},
		{"a method is named", request{Method: http.MethodPost, Path: "$APP/x"}, `curl -i $APP/x -X POST`},
		{"a long one is broken", request{Path: "$APP/" + strings.Repeat("x", lineWidth), Headers: []string{"A: b"}},
			"curl -i $APP/" + strings.Repeat("x", lineWidth) + " \\\n    -H 'A: b'"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := test.request.curl(); got != test.want {
				t.Errorf("command is\n%s\nwant\n%s", got, test.want)
			}
		})
	}
}

func TestTokensAreAbbreviatedOnTheScreen(t *testing.T) {
	const refresh = "AXi_q-f2v0123456789012345678901234567890ylLVDnfE"
	for in, want := range map[string]string{
		`{"access_token":"eyJhbGciOiJF.eyJpc3MiOiJo.MEQCIFwGVkMtNw"}`: `{"access_token":"eyJhbGci…wGVkMtNw"}`,
		refreshCookie + "=" + refresh + "; Path=/auth":                refreshCookie + "=AXi_q-f2…ylLVDnfE; Path=/auth",
		refreshCookie + "=; Max-Age=0":                                refreshCookie + "=; Max-Age=0",
		"nothing secret":                                              "nothing secret",
	} {
		if got := abbreviate(in); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
}

func TestVariablesAreKeptForAShellAndForNobodyElse(t *testing.T) {
	vars := &variables{file: filepath.Join(t.TempDir(), "vars"), values: map[string]string{}}
	for _, pair := range [][2]string{{"B", "2"}, {"A", "1"}, {"B", "3"}} {
		if err := vars.set(pair[0], pair[1]); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(vars.file)
	if err != nil {
		t.Fatal(err)
	}
	if _, got, _ := strings.Cut(string(text), "\n"); got != "A='1'\nB='3'\n" {
		t.Errorf("the file says %q, want A and B", got)
	}
	info, err := os.Stat(vars.file)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := info.Mode().Perm(), os.FileMode(0o600); got != want {
		t.Errorf("mode is %v, want %v", got, want)
	}
	if got, want := vars.expand("$A and $B"), "1 and 3"; got != want {
		t.Errorf("expanded to %q, want %q", got, want)
	}
}

func TestPrettyPutsAListOfOneOnItsLine(t *testing.T) {
	long := strings.Repeat("x", lineWidth)
	for in, want := range map[string]string{
		`{ "a": 1 }`:                       `{"a":1}`,
		`{"a":["` + long + `"]}`:           "{\n  \"a\": [\"" + long + "\"]\n}",
		"no JSON\n":                        "no JSON",
		`{"a":["b","` + long + `"],"c":1}`: "{\n  \"a\": [\n    \"b\",\n    \"" + long + "\"\n  ],\n  \"c\": 1\n}",
	} {
		if got := pretty([]byte(in)); got != want {
			t.Errorf("%s becomes\n%s\nwant\n%s", in, got, want)
		}
	}
}

func TestWrapBreaksBetweenWords(t *testing.T) {
	if got, want := wrap("one two three  four", 8), "one two\n  three\n  four"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestDurationsAreWrittenAsAPersonWould(t *testing.T) {
	for in, want := range map[time.Duration]string{
		400 * time.Microsecond:  "0.4 ms",
		25 * time.Millisecond:   "25 ms",
		2345 * time.Millisecond: "2.3 s",
		90 * time.Second:        "1m30s",
	} {
		if got := short(in); got != want {
			t.Errorf("%d ns is written %q, want %q", in, got, want)
		}
	}
}

func TestARingIsOneLine(t *testing.T) {
	key := &v1alpha1.SigningKey{Status: v1alpha1.SigningKeyStatus{Keys: []v1alpha1.KeyStatus{
		{KeyID: "abcdefghijkl", Phase: v1alpha1.KeyRetiring}, {KeyID: "mno", Phase: v1alpha1.KeyActive},
	}}}
	if got, want := ringOf(key), "abcdefgh…,mno…          Retiring,Active"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestATrialEndsWhereSomethingGoesWrong(t *testing.T) {
	d := &demo{}
	reached := false
	_, err := d.try(t.Context(), func(t *trial) {
		t.want("colour", "red", "green")
		reached = true
	})
	if err == nil || err.Error() != `colour is "red", want "green"` || reached {
		t.Errorf("err is %v and the check went on: %t; want it to end", err, reached)
	}
	fact, err := d.try(t.Context(), func(t *trial) { t.passes("%d of %d", 1, 1) })
	if fact != "1 of 1" || err != nil {
		t.Errorf("got %q, %v; want the fact and no error", fact, err)
	}
}
