package probe_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/latchkey-dev/latchkey/internal/probe"
)

func TestATargetIsReadAsItWasWritten(t *testing.T) {
	for _, want := range []probe.Target{
		{Protocol: probe.HTTP, Port: 8080, Path: "/healthz?full=1", Headers: []probe.Header{{Name: "X-Probe", Value: "a b"}}},
		{Protocol: probe.HTTPS, Port: 8443, Path: "/"},
		{Protocol: probe.TCP, Port: 1},
		{Protocol: probe.GRPC, Port: 65535, Service: "shop.v1.Cart"},
	} {
		got, err := probe.Parse(want.String())
		if err != nil {
			t.Errorf("%s: %v", want, err)
		}
		if diff := cmp.Diff(got, want); diff != "" {
			t.Errorf("%s (-got +want):\n%s", want, diff)
		}
	}
}

func TestWhatIsNoTargetIsRefusedWithoutBeingQuoted(t *testing.T) {
	cases := map[string]struct{ text, want string }{
		"no JSON":                {`hush`, "no JSON"},
		"two objects":            {`{"protocol":"tcp","port":1}{}hush`, "no JSON"},
		"a member nobody knows":  {`{"protocol":"tcp","port":1,"hush":1}`, "no JSON"},
		"no port":                {`{"protocol":"tcp"}`, "port"},
		"a port out of range":    {`{"protocol":"tcp","port":65536}`, "no JSON"},
		"no protocol":            {`{"port":1}`, "protocol"},
		"another protocol":       {`{"protocol":"hush","port":1}`, "protocol"},
		"HTTP without a path":    {`{"protocol":"http","port":1}`, "path"},
		"a whole URL":            {`{"protocol":"http","port":1,"path":"http://hush/"}`, "path"},
		"a path with a space":    {`{"protocol":"http","port":1,"path":"/ HTTP/1.1\r\nHush: 1"}`, "path"},
		"a path of TCP":          {`{"protocol":"tcp","port":1,"path":"/hush"}`, "path"},
		"a header that is none":  {`{"protocol":"http","port":1,"path":"/","headers":[{"name":"a b","value":"hush"}]}`, "headers[0]"},
		"a header of two lines":  {`{"protocol":"http","port":1,"path":"/","headers":[{"name":"a","value":"hush\r\nb: c"}]}`, "headers[0]"},
		"a header of no service": {`{"protocol":"grpc","port":1,"headers":[{"name":"a","value":"hush"}]}`, "headers"},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := probe.Parse(test.text)
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "hush") {
				t.Errorf("got %v, want an error that names %s and quotes nothing", err, test.want)
			}
		})
	}
}

func TestTheHostIsNoHeaderLikeTheOthers(t *testing.T) {
	header, host := probe.Target{Headers: []probe.Header{
		{Name: "hOST", Value: "shop.example"}, {Name: "x-probe", Value: "1"}, {Name: "X-Probe", Value: "2"},
	}}.Header()
	if host != "shop.example" {
		t.Errorf("got host %q, want shop.example", host)
	}
	if diff := cmp.Diff(header, http.Header{"X-Probe": {"1", "2"}}); diff != "" {
		t.Errorf("headers (-got +want):\n%s", diff)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(`{"protocol":"http","port":8080,"path":"/healthz","headers":[{"name":"a","value":"b"}]}`)
	f.Add(`{"protocol":"grpc","port":1,"service":"s"}`)
	f.Fuzz(func(t *testing.T, text string) {
		target, err := probe.Parse(text)
		if err != nil {
			return
		}
		again, err := probe.Parse(target.String())
		if err != nil {
			t.Fatalf("%s: %v", target, err)
		}
		if diff := cmp.Diff(again, target); diff != "" {
			t.Errorf("read again (-got +want):\n%s", diff)
		}
	})
}
