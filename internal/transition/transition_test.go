package transition_test

import (
	"context"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/transition"
)

func condition(conditionType string, status metav1.ConditionStatus, reason, message string) metav1.Condition {
	return metav1.Condition{Type: conditionType, Status: status, Reason: reason, Message: message}
}

func TestEachTransitionIsToldOfOnce(t *testing.T) {
	type conditions = []metav1.Condition
	good := conditions{condition("Accepted", "True", "Accepted", "fine"), condition("Ready", "True", "Ready", "there")}
	for _, test := range []struct {
		name          string
		before, after conditions
		want          []string
	}{
		{name: "nothing changed", before: good, after: good},
		{name: "the first time", after: good, want: []string{"Normal Accepted fine", "Normal Ready there"}},
		{name: "the work is under way", after: conditions{condition("Ready", "False", "Progressing", "wait")}, want: []string{"Normal Progressing wait"}},
		{name: "another message", before: good, after: conditions{condition("Ready", "True", "Ready", "there again")}},
		{
			name: "another status of one", before: good, after: conditions{condition("Accepted", "False", "Invalid", "100%s wrong"), good[1]},
			want: []string{"Warning Invalid 100%s wrong"},
		},
		{
			name: "another reason", before: conditions{condition("Ready", "False", "Invalid", "x")}, after: conditions{condition("Ready", "False", "NotOwned", "y")},
			want: []string{"Warning NotOwned y"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			recorder := events.NewFakeRecorder(10)
			transition.Tell(context.Background(), recorder, &v1alpha1.AuthPolicy{}, test.before, test.after)
			close(recorder.Events)
			var got []string
			for event := range recorder.Events {
				got = append(got, event)
			}
			if diff := cmp.Diff(got, test.want); diff != "" {
				t.Errorf("events (-got +want):\n%s", diff)
			}
		})
	}
}

func TestANoteIsWhatTheAPIServerTakes(t *testing.T) {
	for _, text := range []string{"", strings.Repeat("x", 1024), strings.Repeat("x", 1025), strings.Repeat("é", 600), "x" + strings.Repeat("é", 600), "\xff"} {
		if got := transition.Note(text); len(got) > 1024 || !utf8.ValidString(got) || len(text) <= 1024 && utf8.ValidString(text) && got != text {
			t.Errorf("got a note of %d bytes for a text of %d: %q", len(got), len(text), got)
		}
	}
}
