package strictjson_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/latchkey-dev/latchkey/internal/strictjson"
)

type outer struct {
	Name   string                `json:"name"`
	Count  int                   `json:"count,omitempty"`
	List   []inner               `json:"list"`
	Any    map[string]any        `json:"any"`
	Raw    json.RawMessage       `json:"raw"`
	Option *inner                `json:"option"`
	ByName map[string]inner      `json:"byName"`
	Hidden string                `json:"-"`
	Deep   map[string][]struct{} `json:"deep"`
}

type inner struct {
	On bool `json:"on"`
}

func TestUnmarshal(t *testing.T) {
	for _, tc := range []struct {
		name, in, want string
	}{
		{"takes what fits", `{"name":"a","count":2,"list":[{"on":true}],"any":{"n":12345678901234567890},"raw":[1],"option":null}`, ""},
		{"refuses an unknown field", `{"nme":"a"}`, "nme: unknown field"},
		{"refuses a field in another case", `{"Name":"a"}`, "Name: unknown field"},
		{"refuses a field given twice", `{"name":"a","name":"b"}`, "name: given twice"},
		{"refuses a field given twice by way of an escape", `{"name":"a","nam\u0065":"b"}`, "name: given twice"},
		{"refuses a duplicate inside free-form values", `{"any":{"a":{"b":1,"b":2}}}`, "any.a.b: given twice"},
		{"refuses a duplicate inside raw values", `{"raw":[{"b":1,"b":2}]}`, "raw[0].b: given twice"},
		{"refuses a wrong type", `{"list":[{"on":true},{"on":"yes"}]}`, "list[1].on: must be a boolean, not a string"},
		{"refuses null", `{"name":null}`, "name: must be a string, not null"},
		{"refuses a fraction for a whole number", `{"count":1.5}`, "count: must be a whole number in range"},
		{"refuses a number out of range", `{"count":1e99}`, "count: must be a whole number in range"},
		{"refuses another value behind", `{} {}`, "something follows the value"},
		{"refuses rubbish behind", `{} x`, "something follows the value"},
		{"refuses half a value", `{"name":"a"`, "ends too early"},
		{"refuses nothing at all", ``, "ends too early"},
		{"refuses a list for the whole", `[]`, "must be an object, not a list"},
		{"refuses invalid UTF-8", "{\"name\":\"\xff\"}", "is not valid UTF-8"},
		{"refuses two names that differ in case where any name may be", `{"byName":{"alice":{},"Alice":{}}}`,
			"byName.Alice: given twice (names that differ only in case count as one)"},
		{"refuses half a surrogate pair", `{"name":"\ud83d"}`, "name: holds half a surrogate pair"},
		{"refuses what is not JSON, after all that was wrong before", `{"nme":1,"count":x}`, "nme: unknown field\ncount: is not JSON"},
		{"quotes names, which may hold line ends, and shortens them", `{"a\nb":1,"` + strings.Repeat("x", 100) + `":1}`,
			`["a\nb"]: unknown field` + "\n" + strings.Repeat("x", 64) + "…: unknown field"},
		{"refuses the name of a hidden field", `{"-":"a","Hidden":"b"}`, "-: unknown field\nHidden: unknown field"},
		{"tells every fault", `{"a":1,"name":2,"byName":{"x":{"of":1}}}`, "a: unknown field\nname: must be a string, not a number\nbyName.x.of: unknown field"},
		{"refuses bottomless nesting", `{"any":{"a":` + strings.Repeat("[", 100_000), "any.a" + strings.Repeat("[0]", 30) + ": nested more than 32 deep"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var v outer
			got := ""
			if err := strictjson.Unmarshal([]byte(tc.in), &v); err != nil {
				got = err.Error()
			}
			if diff := cmp.Diff(got, tc.want); diff != "" {
				t.Errorf("error (-got +want):\n%s", diff)
			}
		})
	}
}

func TestKeepsLargeNumbers(t *testing.T) {
	var v outer
	if err := strictjson.Unmarshal([]byte(`{"any":{"n":12345678901234567890}}`), &v); err != nil {
		t.Fatal(err)
	}
	if got, want := v.Any["n"], json.Number("12345678901234567890"); got != want {
		t.Errorf("number: got %v, want %v", got, want)
	}
}

// What is accepted must survive encoding/json's own reading without loss: marshalled and read again it is accepted again.
func FuzzUnmarshal(f *testing.F) {
	f.Add([]byte(`{"name":"a","count":2,"list":[{"on":true}],"any":{"n":1},"raw":[1],"option":{"on":false}}`))
	f.Add([]byte(`{"name":"a","name":"b"}`))
	f.Add([]byte(`{"any":[[[[`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var v outer
		if strictjson.Unmarshal(data, &v) != nil {
			return
		}
		if !json.Valid(data) {
			t.Fatalf("accepted what is not JSON: %q", data)
		}
	})
}
