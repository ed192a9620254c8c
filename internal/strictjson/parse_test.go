package strictjson_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/latchkey-dev/latchkey/internal/strictjson"
)

func TestParse(t *testing.T) {
	for _, tc := range []struct {
		name, in string
		want     any
		wantErr  string
	}{
		{name: "takes every kind of value", in: ` {"a":[1,-0.5e+3,true,false,null,"x"],"b":{}} `, want: map[string]any{
			"a": []any{json.Number("1"), json.Number("-0.5e+3"), true, false, nil, "x"}, "b": map[string]any{},
		}},
		{name: "keeps numbers as they are written", in: `12345678901234567890.10`, want: json.Number("12345678901234567890.10")},
		{name: "reads escapes", in: `"\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00é"`, want: "\"\\/\b\f\n\r\té😀é"},
		{name: "refuses a member given twice", in: `{"a":{"b":1,"b":2}}`, wantErr: "a.b: byte 12: given twice"},
		{name: "refuses a member given twice by way of an escape", in: `{"a":1,"\u0061":2}`, wantErr: "a: byte 7: given twice"},
		{name: "refuses a member given in another case", in: `{"iss":1,"Iss":2}`, wantErr: "Iss: byte 9: given twice"},
		{name: "refuses a member given in another case first", in: `{"ISS":1,"iss":2}`, wantErr: "iss: byte 9: given twice"},
		{name: "refuses two members that differ in case", in: `{"iSs":1,"Iss":2}`, wantErr: "Iss: byte 9: given twice"},
		{name: "refuses the long s, which folds to s", in: `{"iss":1,"iſs":2}`, wantErr: `["iſs"]: byte 9: given twice`},
		{name: "refuses the Kelvin sign, which folds to k", in: "{\"\u212aid\":1,\"kid\":2}", wantErr: "kid: byte 11: given twice"},
		{name: "takes equal names in different objects", in: `[{"a":1},{"a":2}]`, want: []any{
			map[string]any{"a": json.Number("1")}, map[string]any{"a": json.Number("2")},
		}},
		{name: "refuses a member given twice among many", in: many(40, `"m3":0`), wantErr: "m3: byte 311: given twice"},
		{name: "refuses one given in another case among many", in: many(40, `"M39":0`), wantErr: "M39: byte 311: given twice (names"},
		{name: "refuses one given twice as the thirteenth", in: many(12, `"m0":0`), wantErr: "m0: byte 87: given twice"},
		{name: "refuses one given twice as the fourteenth", in: many(13, `"M12":0`), wantErr: "M12: byte 95: given twice (names"},
		{name: "refuses a missing comma after the thirteenth", in: strings.Replace(many(13, `"x":0`), `,"x"`, `"x"`, 1), wantErr: "wants , or }"},
		{name: "takes objects in objects", in: many(2, `"in":`+many(1, `"x":0`)), want: map[string]any{
			"m0": json.Number("0"), "m1": json.Number("1"), "in": map[string]any{"m0": json.Number("0"), "x": json.Number("0")},
		}},
		{name: "refuses half a surrogate pair", in: `"\ud83d"`, wantErr: "half a surrogate pair"},
		{name: "refuses the second half alone", in: `"\ude00"`, wantErr: "half a surrogate pair"},
		{name: "refuses two first halves", in: `"\ud83d\ud83d"`, wantErr: "half a surrogate pair"},
		{name: "refuses invalid UTF-8", in: "\"\xff\"", wantErr: "not valid UTF-8"},
		{name: "refuses a byte order mark", in: "\ufeff{}", wantErr: "not JSON"},
		{name: "refuses a second value", in: `{}{}`, wantErr: "something follows"},
		{name: "refuses a NUL behind", in: "{}\x00", wantErr: "something follows"},
		{name: "refuses a trailing comma", in: `[1,]`, wantErr: "[1]: byte 3: is not JSON"},
		{name: "refuses a comma at the front", in: `{,"a":1}`, wantErr: "wants a member name"},
		{name: "refuses a number with a leading zero", in: `01`, wantErr: "something follows"},
		{name: "refuses a number without digits", in: `-`, wantErr: "not a JSON number"},
		{name: "refuses NaN", in: `NaN`, wantErr: "not JSON"},
		{name: "refuses single quotes", in: `{'a':1}`, wantErr: "wants a member name"},
		{name: "refuses a raw line break in a string", in: "\"a\nb\"", wantErr: "control character"},
		{name: "refuses an unknown escape", in: `"\x"`, wantErr: "unknown escape"},
		{name: "refuses an escape cut short", in: `"\u00`, wantErr: "incomplete escape"},
		{name: "refuses what ends too early", in: `{"a":[{"b"`, wantErr: "a[0]: byte 10: ends too early"},
		{name: "refuses nothing", in: ``, wantErr: "ends too early"},
		{name: "takes 32 levels", in: strings.Repeat("[", 32) + strings.Repeat("]", 32), want: nest(32)},
		{name: "refuses 33", in: strings.Repeat("[", 33) + strings.Repeat("]", 33), wantErr: "nested more than 32 deep"},
		{name: "refuses a million without being impressed", in: strings.Repeat(`{"a":[`, 1_000_000), wantErr: "nested more than 32 deep"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := strictjson.Parse(tc.in)
			if tc.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tc.wantErr) {
					t.Fatalf("got %v, error %v, want an error with %q", got, err, tc.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, tc.want) { // go-cmp takes time exponential in the depth
				t.Errorf("got %#v, want %#v", got, tc.want)
			}
		})
	}
}

// many is an object of so many members, m0 and on, and a last one.
func many(count int, last string) string {
	var text strings.Builder
	text.WriteByte('{')
	for i := range count {
		fmt.Fprintf(&text, `"m%d":%d,`, i, i%10)
	}
	return text.String() + last + "}"
}

func nest(depth int) any {
	value := []any{}
	for range depth - 1 {
		value = []any{value}
	}
	return value
}

func TestParseObjectRefusesOtherValues(t *testing.T) {
	for _, in := range []string{`[]`, `"{}"`, `1`, `null`} {
		if got, err := strictjson.ParseObject(in); err == nil {
			t.Errorf("%s: got %v, want an error", in, got)
		}
	}
}

// FuzzParse holds Parse against encoding/json: what both take they read alike, and Parse refuses for the reasons only that it states.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		`{"iss":"a","aud":["b","c"],"exp":1.5e9,"x":{"y":[true,false,null]}}`, `{"a":1,"A":2}`, `"\ud83d\ude00\u0000"`, "\"\xff\"", `[1,]`, `-0`, `{"a":1}x`, many(20, `"x":{"y":1}`), many(20, `"M7":1`),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := strictjson.Parse(text)
		var want any
		decoder := json.NewDecoder(bytes.NewReader([]byte(text)))
		decoder.UseNumber()
		theirs := decoder.Decode(&want)
		if err == nil {
			if theirs != nil {
				t.Fatalf("took what encoding/json refuses: %v", theirs)
			}
			if !reflect.DeepEqual(got, want) {
				t.Fatalf("got %#v, want %#v", got, want)
			}
			return
		}
		var stated *strictjson.ParseError
		if !errors.As(err, &stated) {
			t.Fatalf("got a %T, want a *ParseError", err)
		}
		for _, why := range []string{"given twice", "half a surrogate pair", "nested more than", "not valid UTF-8"} {
			if strings.Contains(stated.Why, why) {
				return
			}
		}
		if json.Valid([]byte(text)) {
			t.Fatalf("refused JSON for no stated reason: %v", err)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	claims := `{"iss":"https://auth.example","sub":"alice","aud":["app"],"exp":1767225600,"iat":1767225300,"jti":"0a1b2c3d","sid":"c2Vzc2lvbg",` +
		`"auth_time":1767225000,"client_id":"latchkey","email":"alice@example.com","roles":["admin","viewer"]}`
	b.ReportAllocs()
	b.SetBytes(int64(len(claims)))
	for b.Loop() {
		if _, err := strictjson.Parse(claims); err != nil {
			b.Fatal(err)
		}
	}
}
