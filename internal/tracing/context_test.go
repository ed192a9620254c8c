package tracing_test

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

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

func TestNoMoreTracestateIsPassedOnThanTheStandardSays(t *testing.T) {
	members := func(n int, of string) string {
		list := make([]string, n)
		for i := range list {
			list[i] = "k" + strconv.Itoa(i) + "=" + of
		}
		return strings.Join(list, ",")
	}
	x128, x129 := "k="+strings.Repeat("x", 126), "long="+strings.Repeat("x", 124)
	tests := []struct {
		name string
		in   []string
		want string
	}{
		{"none", nil, ""},
		{"one", []string{"a=1"}, "a=1"},
		{"several headers become one", []string{"a=1,b=2", "c=3"}, "a=1,b=2,c=3"},
		{"32 members", []string{members(32, "x")}, members(32, "x")},
		{"33 members", []string{members(33, "x")}, members(32, "x")},
		{"a thousand headers", strings.Split(members(1000, "x"), ","), members(32, "x")},
		{"512 characters", []string{strings.Repeat(x128+",", 3) + x128[:125]}, strings.Repeat(x128+",", 3) + x128[:125]},
		{"513 characters", []string{strings.Repeat(x128+",", 3) + x128[:126]}, strings.Repeat(x128+",", 2) + x128},
		{"long members go first", []string{x129 + ",a=1," + x129 + ",b=2," + x129 + "," + x129}, "a=1,b=2"},
		{"a long member alone stays", []string{x129}, x129},
		{"one endless member", []string{strings.Repeat("x", 30_000)}, ""},
		{"nothing but commas", []string{strings.Repeat(",", 30_000)}, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			to := http.Header{}
			tracing.Pass(http.Header{"Tracestate": test.in}, to)
			if got := to.Get("Tracestate"); got != test.want || len(to["Tracestate"]) > 1 {
				t.Errorf("got %q, want %q", to["Tracestate"], test.want)
			}
		})
	}
}

func TestASpanPassesNoMoreTracestateOn(t *testing.T) {
	tracer := tracing.Renew(nil, &tracing.Config{Endpoint: "http://127.0.0.1:1", SamplingPercent: 0}, "test", func(int) {})
	defer tracer.Close()
	for _, test := range []struct{ name, parent, want string }{
		{"with its trace", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", "a=1"},
		{"without a trace", "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := &http.Request{Header: http.Header{"Traceparent": {test.parent}, "Tracestate": {"a=1", strings.Repeat("x", 30_000)}}}
			tracer.Start(r, "GET", tracing.Incoming(r.Header), time.Now()).Announce(r.Header)
			if got := strings.Join(r.Header["Tracestate"], "|"); got != test.want {
				t.Errorf("got %.80q, want %q", got, test.want)
			}
		})
	}
}
