package jwksource_test

import (
	"testing"
	"time"

	"github.com/latchkey-dev/latchkey/internal/jwksource"
)

func TestLifetimeIsWhatTheServerSaysWithinBounds(t *testing.T) {
	for _, tc := range []struct {
		name   string
		fields []string
		age    string
		want   time.Duration
	}{
		{"nothing said", nil, "", 10 * time.Minute},
		{"nothing that counts", []string{"public, s-maxage=60, must-revalidate, immutable"}, "", 10 * time.Minute},
		{"an age and nothing else", nil, "500", 10 * time.Minute},
		{"a plain age", []string{"max-age=300"}, "", 5 * time.Minute},
		{"capital letters and spaces", []string{"Public ,  MAX-AGE = 300 "}, "", 5 * time.Minute},
		{"quotation marks", []string{`max-age="300"`}, "", 5 * time.Minute},
		{"a comma within quotation marks", []string{`ext="a, max-age=60", max-age=300`}, "", 5 * time.Minute},
		{"a mark within quotation marks", []string{`ext="\", max-age=60", max-age=300`}, "", 5 * time.Minute},
		{"several fields, of which the shortest counts", []string{"max-age=3000", "max-age=300"}, "", 5 * time.Minute},
		{"time that has passed in a cache", []string{"max-age=600"}, " 300 ", 5 * time.Minute},
		{"less than the least", []string{"max-age=5"}, "", time.Minute},
		{"zero", []string{"max-age=0"}, "", time.Minute},
		{"more than the most", []string{"max-age=86400"}, "", time.Hour},
		{"more than fits a number", []string{"max-age=99999999999999999999"}, "", time.Hour},
		{"older than it may become", []string{"max-age=600"}, "99999999999999999999", time.Minute},
		{"no-store beside an age", []string{"no-store, max-age=600"}, "", time.Minute},
		{"no-cache", []string{"no-cache"}, "", time.Minute},
		{"a negative age", []string{"max-age=-1"}, "", time.Minute},
		{"an age that is none", []string{"max-age=soon"}, "", time.Minute},
		{"an age without a number", []string{"max-age"}, "", time.Minute},
		{"a mark that is never closed", []string{`max-age=300, ext="`}, "", 5 * time.Minute},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := jwksource.Lifetime(tc.fields, tc.age); got != tc.want {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
}

func FuzzLifetime(f *testing.F) {
	f.Add("max-age=300, public", "12")
	f.Add(`ext="a, \"max-age=60", MAX-AGE="1"`, "")
	f.Add("no-store,,=,max-age=99999999999999999999", "-1")
	f.Fuzz(func(t *testing.T, field, age string) {
		got := jwksource.Lifetime([]string{field}, age)
		if got < jwksource.MinLifetime || got > jwksource.MaxLifetime {
			t.Errorf("got %v, want it within bounds", got)
		}
		if longer := jwksource.Lifetime([]string{field, "max-age=60"}, age); longer > got && got != jwksource.MinLifetime {
			t.Errorf("got %v with a shorter age beside it, want at most %v", longer, got)
		}
	})
}
