package tracing

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	queueLength = 1024
	batchLength = 256
	// batchAge is how long a span waits for others to be sent with.
	batchAge    = 2 * time.Second
	sendTimeout = 5 * time.Second
	lastTimeout = time.Second
)

// finished is a span that can be sent.
type finished struct {
	*Span
	ended   time.Time
	outcome Outcome
}

// exporter sends spans, a batch at a time, from one goroutine.
type exporter struct {
	url      string
	service  string
	instance string
	dropped  func(int)
	client   *http.Client
	queue    chan finished
	closing  chan struct{}
	closed   chan struct{}
	once     sync.Once
}

func newExporter(endpoint, service, instance string, dropped func(int)) *exporter {
	e := &exporter{
		url: strings.TrimSuffix(endpoint, "/") + "/v1/traces", service: service, instance: instance, dropped: dropped,
		client: &http.Client{
			Transport: &http.Transport{MaxIdleConnsPerHost: 1, IdleConnTimeout: time.Minute},
			// A collector has no reason to send us elsewhere.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		queue: make(chan finished, queueLength), closing: make(chan struct{}), closed: make(chan struct{}),
	}
	go e.run()
	return e
}

func (e *exporter) take(span finished) {
	select {
	case e.queue <- span:
	default:
		e.dropped(1)
	}
}

func (e *exporter) close() {
	e.once.Do(func() { close(e.closing) })
	<-e.closed
}

func (e *exporter) run() {
	defer close(e.closed)
	defer e.client.CloseIdleConnections()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { // a collector that does not answer must not hold up the end
		<-e.closing
		time.AfterFunc(lastTimeout, cancel)
	}()
	batch := make([]finished, 0, batchLength)
	age := time.NewTimer(batchAge)
	defer age.Stop()
	for {
		select {
		case span := <-e.queue:
			if batch = append(batch, span); len(batch) < batchLength {
				continue
			}
		case <-age.C:
		case <-e.closing:
			for more := true; more; {
				select {
				case span := <-e.queue:
					batch = append(batch, span)
				default:
					more = false
				}
			}
			e.send(ctx, batch)
			return
		}
		e.send(ctx, batch)
		batch = batch[:0]
		age.Reset(batchAge)
	}
}

// send sends once. A collector that is away for longer than the queue lasts costs spans; they are not worth a request.
func (e *exporter) send(ctx context.Context, batch []finished) {
	if len(batch) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	if !e.post(ctx, e.encode(batch)) {
		e.dropped(len(batch))
	}
}

func (e *exporter) post(ctx context.Context, body []byte) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, e.url, bytes.NewReader(body))
	if err != nil {
		return false // not reached: the URL was checked when it was read
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := e.client.Do(request)
	if err != nil {
		return false
	}
	_, _ = io.CopyN(io.Discard, response.Body, 64<<10) // so that the connection can be used again
	_ = response.Body.Close()
	return response.StatusCode == http.StatusOK
}

// What follows is the JSON form of opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest: ids in hexadecimal, integers of 64 bits as
// strings (OTLP specification 1.5, "JSON Protobuf Encoding").
type (
	document struct {
		ResourceSpans []resourceSpans `json:"resourceSpans"`
	}
	resourceSpans struct {
		Resource   resource     `json:"resource"`
		ScopeSpans []scopeSpans `json:"scopeSpans"`
	}
	resource struct {
		Attributes []attribute `json:"attributes"`
	}
	scopeSpans struct {
		Scope scope  `json:"scope"`
		Spans []span `json:"spans"`
	}
	scope struct {
		Name string `json:"name"`
	}
	span struct {
		TraceID           string      `json:"traceId"`
		SpanID            string      `json:"spanId"`
		TraceState        string      `json:"traceState,omitempty"`
		ParentSpanID      string      `json:"parentSpanId,omitempty"`
		Name              string      `json:"name"`
		Kind              int         `json:"kind"`
		StartTimeUnixNano string      `json:"startTimeUnixNano"`
		EndTimeUnixNano   string      `json:"endTimeUnixNano"`
		Attributes        []attribute `json:"attributes"`
		Status            status      `json:"status"`
	}
	attribute struct {
		Key   string `json:"key"`
		Value value  `json:"value"`
	}
	value struct {
		StringValue *string `json:"stringValue,omitempty"`
		IntValue    *string `json:"intValue,omitempty"`
	}
	status struct {
		Code int `json:"code,omitempty"`
	}
)

const (
	kindServer  = 2
	statusError = 2
)

func (e *exporter) encode(batch []finished) []byte {
	spans := make([]span, 0, len(batch))
	for _, f := range batch {
		s := span{
			TraceID: hex.EncodeToString(f.context.TraceID[:]), SpanID: hex.EncodeToString(f.context.SpanID[:]), TraceState: f.state,
			Name: f.name, Kind: kindServer, StartTimeUnixNano: nanoseconds(f.began), EndTimeUnixNano: nanoseconds(f.ended),
			Attributes: attributes(append(f.outcome.Attributes, Attribute{"http.response.status_code", int64(f.outcome.Status)})),
		}
		if f.parent != [8]byte{} {
			s.ParentSpanID = hex.EncodeToString(f.parent[:])
		}
		if f.outcome.Status == 0 || f.outcome.Status >= http.StatusInternalServerError {
			s.Status.Code = statusError
		}
		spans = append(spans, s)
	}
	about := []Attribute{{"service.name", e.service}, {"service.instance.id", e.instance}}
	body, err := json.Marshal(document{[]resourceSpans{{
		Resource:   resource{attributes(about)},
		ScopeSpans: []scopeSpans{{scope{"github.com/latchkey-dev/latchkey"}, spans}},
	}}})
	if err != nil { // strings and numbers
		panic(err)
	}
	return body
}

func attributes(list []Attribute) []attribute {
	encoded := make([]attribute, 0, len(list))
	for _, each := range list {
		switch v := each.Value.(type) {
		case string:
			encoded = append(encoded, attribute{each.Key, value{StringValue: &v}})
		case int64:
			text := strconv.FormatInt(v, 10)
			encoded = append(encoded, attribute{each.Key, value{IntValue: &text}})
		}
	}
	return encoded
}

func nanoseconds(t time.Time) string { return strconv.FormatInt(t.UnixNano(), 10) }
