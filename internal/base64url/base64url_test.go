package base64url_test

import (
	"bytes"
	"testing"

	"github.com/latchkey-dev/latchkey/internal/base64url"
)

func TestDecodeRefusesEverySpellingButOne(t *testing.T) {
	for _, tc := range []struct{ name, text string }{
		{"padding", "Zg=="},
		{"the standard alphabet", "_-8+"},
		{"bits after the end", "Zh"},
		{"a single character", "Z"},
		{"a line feed inside", "Zm\n9v"},
		{"a line feed behind", "Zm9v\n"},
		{"a carriage return inside", "Zm\r9v"},
		{"a line feed that makes the length come out", "Zm9v\nZg"},
		{"a space", "Zm 9v"},
		{"a NUL", "Zm9v\x00"},
		{"another character", "Zm9*"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got, err := base64url.Decode(tc.text); err == nil {
				t.Errorf("got %q, want an error", got)
			}
		})
	}
}

func TestAppendDecodeAppends(t *testing.T) {
	got, err := base64url.AppendDecode([]byte("a"), []byte("YmM"))
	if err != nil || string(got) != "abc" {
		t.Errorf("got %q, error %v, want abc", got, err)
	}
}

func FuzzDecode(f *testing.F) {
	for _, seed := range []string{"", "Zg", "Zm8", "Zm9v", "Zm9v\n", "Zh", "Zg==", "_-8"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		data, err := base64url.Decode(text)
		if err != nil {
			return
		}
		if got := base64url.Encode(data); got != text {
			t.Errorf("got %q back, want the same text: %q has two spellings", got, text)
		}
		if again, err := base64url.Decode(base64url.Encode(data)); err != nil || !bytes.Equal(again, data) {
			t.Errorf("got %q, error %v, want %q", again, err, data)
		}
	})
}
