// Package probe is the form in which the webhook tells the sidecar what to ask the app for a probe or a hook of the kubelet's. It knows neither
// pods nor sockets.
package probe

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// Protocol is how the app is asked.
type Protocol string

// The protocols of the kubelet's handlers that cross the network.
const (
	HTTP  Protocol = "http"  // GET path: its status is passed on
	HTTPS Protocol = "https" // likewise, over TLS, with whatever certificate: a kubelet verifies none either
	TCP   Protocol = "tcp"   // a connection: 200, or 502
	GRPC  Protocol = "grpc"  // grpc.health.v1.Health/Check of service: 200 when it is SERVING, else 502 or 503
)

// Target is one question to the app.
type Target struct {
	Protocol Protocol `json:"protocol"`
	Port     uint16   `json:"port"`
	Path     string   `json:"path,omitempty"`    // of HTTP and HTTPS: path and query, as they go into the request line
	Headers  []Header `json:"headers,omitempty"` // likewise
	Service  string   `json:"service,omitempty"` // of GRPC; "" is the server as a whole
}

// Header is a header of the question. Its value may be a secret of the pod's author: it is not for logs.
type Header struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Sidecar is the sidecar's own name among the containers that have hooks. Its hook preStop says that the pod is being deleted.
const Sidecar = "latchkey"

// Kinds of questions: the kubelet's probes, which anybody may ask, and its hooks, which need the pod's secret.
var (
	Kinds = []string{"startup", "readiness", "liveness"}
	Hooks = []string{"postStart", "preStop"}
)

// String is the target as Parse takes it.
func (t Target) String() string {
	text, err := json.Marshal(t)
	if err != nil { // strings and numbers
		panic(err)
	}
	return string(text)
}

// Parse reads a target. Errors do not quote it.
func Parse(text string) (Target, error) {
	var t Target
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&t); err != nil || decoder.More() {
		return Target{}, errors.New("is no JSON object of a target")
	}
	return t, t.check()
}

func (t Target) check() error {
	if t.Port == 0 {
		return errors.New("port: required")
	}
	switch t.Protocol {
	case TCP, GRPC:
		if t.Path != "" || len(t.Headers) > 0 {
			return fmt.Errorf("path and headers are for %s and %s", HTTP, HTTPS)
		}
	case HTTP, HTTPS:
		if _, err := url.ParseRequestURI(t.Path); err != nil || !strings.HasPrefix(t.Path, "/") {
			return errors.New("path: must be one of a request line, and begin with /")
		}
	default:
		return fmt.Errorf("protocol: must be %s, %s, %s or %s", HTTP, HTTPS, TCP, GRPC)
	}
	for i, h := range t.Headers {
		if !httpguts.ValidHeaderFieldName(h.Name) || !httpguts.ValidHeaderFieldValue(h.Value) {
			return fmt.Errorf("headers[%d]: is no header of HTTP", i)
		}
	}
	return nil
}

// Header are the headers as net/http has them, and the Host among them apart; "": there is none.
func (t Target) Header() (header http.Header, host string) {
	header = http.Header{}
	for _, h := range t.Headers {
		if strings.EqualFold(h.Name, "Host") {
			host = h.Value
			continue
		}
		header.Add(h.Name, h.Value)
	}
	return header, host
}
