package tracing_test

import (
	"net/http"
	"testing"

	"github.com/latchkey-dev/latchkey/internal/tracing"
)

func TestTraceContextIsTakenAsTheStandardSays(t *testing.T) {
	const trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	tests := []struct {
		name    string
		headers []string
		valid   bool
		sampled bool
	}{
		{"none", nil, false, false},
		{"sampled", []string{"00-" + trace + "-" + parent + "-01"}, true, true},
		{"not sampled", []string{"00-" + trace + "-" + parent + "-00"}, true, false},
		{"other flags", []string{"00-" + trace + "-" + parent + "-fe"}, true, false},
		{"a version to come", []string{"cc-" + trace + "-" + parent + "-01-more"}, true, true},
		{"a version to come, glued", []string{"cc-" + trace + "-" + parent + "-01more"}, false, false},
		{"more than version 0 has", []string{"00-" + trace + "-" + parent + "-01-more"}, false, false},
		{"the version that is none", []string{"ff-" + trace + "-" + parent + "-01"}, false, false},
		{"capital letters", []string{"00-0AF7651916CD43DD8448EB211C80319C-" + parent + "-01"}, false, false},
		{"no trace", []string{"00-00000000000000000000000000000000-" + parent + "-01"}, false, false},
		{"no parent", []string{"00-" + trace + "-0000000000000000-01"}, false, false},
		{"too short", []string{"00-" + trace + "-" + parent}, false, false},
		{"no numbers", []string{"00-" + trace + "-" + parent + "-0x"}, false, false},
		{"twice", []string{"00-" + trace + "-" + parent + "-01", "00-" + trace + "-" + parent + "-01"}, false, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := tracing.Incoming(http.Header{"Traceparent": test.headers})
			if got.Valid() != test.valid || got.Sampled != test.sampled {
				t.Errorf("got valid %v, sampled %v, want %v, %v", got.Valid(), got.Sampled, test.valid, test.sampled)
			}
			if test.valid && got.TraceIDText() != trace {
				t.Errorf("got trace %q, want %q", got.TraceIDText(), trace)
			}
		})
	}
}

func FuzzTraceContextIsWrittenAsItWasRead(f *testing.F) {
	f.Add("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	f.Add("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x")
	f.Fuzz(func(t *testing.T, text string) {
		read := tracing.Incoming(http.Header{"Traceparent": {text}})
		if read.Valid() && read.TraceIDText() != text[3:35] {
			t.Errorf("got %q out of %q", read.TraceIDText(), text)
		}
	})
}
