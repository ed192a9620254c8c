// Package problem owns what a refusal looks like to the caller: a status, RFC 9457 problem details with a stable reason, and an id by
// which the refusal can be looked up. It knows HTTP answers, not why one was given, and tells nobody the name of a policy or a rule.
package problem

import (
	"encoding/json"
	"net/http"
)

// Problem is one refusal. Its JSON form is an application/problem+json document.
type Problem struct {
	Title    string `json:"title"`            // the status in words
	Status   int    `json:"status"`           // 400 to 599
	Reason   string `json:"reason"`           // stable: programs may depend on it
	Detail   string `json:"detail,omitempty"` // for people: what to do about it
	Decision string `json:"decision"`         // id of the refusal in the sidecar's recent decisions
}

// Write answers the request with the problem. Headers of the answer that depend on the refusal, such as WWW-Authenticate, are set by then.
func Write(w http.ResponseWriter, r *http.Request, p Problem) {
	if IsGRPC(r) {
		writeGRPC(w, p)
		return
	}
	p.Title = http.StatusText(p.Status)
	body, err := json.Marshal(p)
	if err != nil { // strings and a number cannot fail to marshal
		panic(err)
	}
	header := w.Header()
	header.Set("Content-Type", "application/problem+json")
	header.Set("Cache-Control", "no-store") // a refusal to one caller is nobody else's answer
	header.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(p.Status)
	_, _ = w.Write(append(body, '\n')) // a caller that has gone needs no answer
	if r.ProtoMajor == 2 {
		_ = http.NewResponseController(w).Flush() // else it waits for room on its stream when the handler has returned, and nobody counts it
	}
}
