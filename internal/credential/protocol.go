package credential

import (
	"net/http"
	"strings"
)

// inProtocols returns the token that is offered as the protocol right after this one, the name as it was spelt, and how often it is there.
func inProtocols(values []string, name string) (spelt, token string, times int) {
	marker := ""
	for _, value := range values {
		for each := range strings.SplitSeq(value, ",") {
			each = strings.Trim(each, " \t")
			switch {
			case marker != "":
				spelt, token = marker, each
				marker = ""
				times++
			case strings.EqualFold(each, name):
				marker = each
			}
		}
	}
	return spelt, token, times
}

// removeProtocol takes the name and the token after it out of what is offered.
func removeProtocol(header http.Header, name string) {
	values := header[protocols]
	if _, _, times := inProtocols(values, name); times == 0 {
		return
	}
	var kept []string
	next := false
	for _, value := range values {
		for each := range strings.SplitSeq(value, ",") {
			each = strings.Trim(each, " \t")
			isToken := next
			next = !isToken && strings.EqualFold(each, name)
			if !isToken && !next && each != "" {
				kept = append(kept, each)
			}
		}
	}
	delete(header, protocols)
	if len(kept) > 0 {
		header[protocols] = []string{strings.Join(kept, ", ")}
	}
}
