package managerload

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

// request is one that the manager made.
type request struct {
	verb     string
	resource string // with its subresource: "authpolicies/status"
	object   types.NamespacedName
	attempt  int // of a poke
	code     int
	received time.Time
	answered time.Time
}

// what names requests that are counted together.
func (r request) what() string { return r.verb + " " + r.resource }

// counts says whether a request is one that is counted among writes. Leases and events are not.
func (r request) writes() bool {
	switch r.verb {
	case "create", "update", "patch", "delete", "deletecollection":
		return r.resource != "leases" && r.resource != "events" && r.code < 300
	}
	return false
}

// idle says whether a manager at rest makes such requests: it keeps its lease, and looks for pods without a sidecar.
func (r request) idle() bool { return r.resource == "leases" || r.verb == "watch" || r.verb == "list" }

// audit reads the API server's audit log as it grows.
type audit struct {
	path     string
	offset   int64
	requests []request
}

// entry is a line of the log: an Event of audit.k8s.io/v1.
type entry struct {
	Verb      string `json:"verb"`
	ObjectRef struct {
		Resource    string `json:"resource"`
		Subresource string `json:"subresource"`
		Namespace   string `json:"namespace"`
		Name        string `json:"name"`
	} `json:"objectRef"`
	Stage         string `json:"stage"`
	RequestObject struct {
		Metadata struct {
			Annotations map[string]string `json:"annotations"`
		} `json:"metadata"`
	} `json:"requestObject"`
	ResponseStatus struct {
		Code int `json:"code"`
	} `json:"responseStatus"`
	Received time.Time `json:"requestReceivedTimestamp"`
	Answered time.Time `json:"stageTimestamp"`
}

// read takes in what was written since.
func (a *audit) read() error {
	file, err := os.Open(a.path)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // it was read
	if _, err = file.Seek(a.offset, io.SeekStart); err != nil {
		return err
	}
	text, err := io.ReadAll(file)
	if err != nil {
		return err
	}
	text = text[:bytes.LastIndexByte(text, '\n')+1] // a line that is being written comes next time
	a.offset += int64(len(text))
	for line := range bytes.Lines(text) {
		var e entry
		if err := json.Unmarshal(line, &e); err != nil {
			return fmt.Errorf("read the audit log: %w", err)
		}
		if e.Stage != "ResponseComplete" {
			continue
		}
		r := request{
			verb: e.Verb, resource: strings.TrimSuffix(e.ObjectRef.Resource+"/"+e.ObjectRef.Subresource, "/"),
			object: types.NamespacedName{Namespace: e.ObjectRef.Namespace, Name: e.ObjectRef.Name},
			code:   e.ResponseStatus.Code, received: e.Received, answered: e.Answered,
		}
		if poke := e.RequestObject.Metadata.Annotations[v1alpha1.AnnotationVolumes]; poke != "" {
			_, attempt, _ := strings.Cut(poke, " ")
			if _, err := fmt.Sscan(attempt, &r.attempt); err != nil {
				return fmt.Errorf("a poke says %q: %w", poke, err)
			}
		}
		a.requests = append(a.requests, r)
	}
	return nil
}

// since are the requests that came after an instant.
func (a *audit) since(instant time.Time) []request {
	var found []request
	for _, r := range a.requests {
		if r.received.After(instant) {
			found = append(found, r)
		}
	}
	return found
}

// last is when the manager last did what one at rest does not; zero for never since then.
func (a *audit) last(since time.Time) time.Time {
	var last time.Time
	for _, r := range a.since(since) {
		if !r.idle() && r.answered.After(last) {
			last = r.answered
		}
	}
	return last
}
