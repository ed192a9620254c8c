package explain

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Decision is what a sidecar remembers of a request that it refused, or ended, or would have refused if its policy did not only audit. It holds no
// token, cookie or query. What is in it was chosen by whoever sent the request, and told by a pod: nothing of it is believed or shown raw.
type Decision struct {
	ID      string    `json:"id"`
	Time    time.Time `json:"time"`
	Method  string    `json:"method"`
	Path    string    `json:"path"`
	Status  int       `json:"status"`
	Reason  string    `json:"reason"`
	Audited bool      `json:"audited"`
	Detail  string    `json:"detail"`
	Rule    *int      `json:"rule"` // index in the policy's rules
	Issuer  string    `json:"issuer"`
	Subject string    `json:"subject"`
}

// Found is a decision and where it was made.
type Found struct {
	Decision
	Namespace, Pod string
	Policy         string // that governs the pod; "" where nobody says
}

// Write tells people what was decided, why, and what to do about it.
func (f Found) Write(w io.Writer) error {
	reason, known := ReasonOf(f.Reason)
	if !known {
		reason = Reason{Means: "this version of latchkey does not know the reason; try that of the sidecar"}
	}
	outcome := strings.TrimSpace("refused with " + strconv.Itoa(f.Status) + " " + http.StatusText(f.Status))
	if f.Audited {
		outcome = "let through, since the policy only audits; it would have been " + outcome
	}
	lines := [][2]string{
		{"decision", outcome},
		{"reason", shown(f.Reason) + ": " + reason.Means},
		{"detail", shown(f.Detail)},
		{"do", reason.Do},
		{"told", reason.Told},
		{"request", shown(f.Method) + " " + shown(f.Path)},
		{"time", f.Time.UTC().Format(time.RFC3339)},
		{"pod", f.Namespace + "/" + f.Pod},
		{"policy", f.Policy},
		{"rule", f.rule()},
		{"issuer", shown(f.Issuer)},
		{"subject", shown(f.Subject)},
	}
	var text strings.Builder
	for _, line := range lines {
		if line[1] != "" {
			fmt.Fprintf(&text, "%-9s %s\n", line[0], line[1])
		}
	}
	_, err := io.WriteString(w, text.String())
	return err
}

func (f Found) rule() string {
	switch {
	case f.Rule == nil && f.Reason == "no_rule":
		return "none; the default decided"
	case f.Rule == nil:
		return ""
	case f.Policy == "":
		return fmt.Sprintf("rules[%d]", *f.Rule)
	}
	return fmt.Sprintf("rules[%d], now: kubectl get authpolicy -n %s %s -o jsonpath='{.spec.rules[%d]}'", *f.Rule, f.Namespace, f.Policy, *f.Rule)
}

// shown is text of a stranger's as a terminal may have it: in quotes, with escapes, where it is more than letters.
func shown(text string) string {
	quoted := strconv.QuoteToGraphic(text)
	if text == "" || quoted == `"`+text+`"` {
		return text
	}
	return quoted
}
