package issuer_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
)

// description is docs/api/token-service.openapi.yaml. Every answer that a test of this package gets is held against it.
var description = sync.OnceValues(func() (*openapi3.T, error) {
	document, err := openapi3.NewLoader().LoadFromFile("../../docs/api/token-service.openapi.yaml")
	if err != nil {
		return nil, err
	}
	if err := document.Validate(context.Background()); err != nil {
		return nil, err
	}
	document.Servers = nil // a test's token service has an address of its own
	openapi3filter.RegisterBodyDecoder("application/jwk-set+json", openapi3filter.JSONBodyDecoder)
	return document, nil
})

var describedRoutes = sync.OnceValues(func() (routers.Router, error) {
	document, err := description()
	if err != nil {
		return nil, err
	}
	return gorillamux.NewRouter(document)
})

// undescribed are routes that are not for clients.
var undescribed = map[string]bool{"/revocations": true}

// asDescribed returns how an answer differs from the description.
func asDescribed(r *http.Request, status int, header http.Header, body string) error {
	if undescribed[r.URL.Path] {
		return nil
	}
	all, err := describedRoutes()
	if err != nil {
		return err
	}
	route, parameters, err := all.FindRoute(r)
	switch {
	case errors.Is(err, routers.ErrMethodNotAllowed) && status == http.StatusMethodNotAllowed,
		errors.Is(err, routers.ErrPathNotFound) && status == http.StatusNotFound:
		return nil
	case err != nil && status == http.StatusForbidden:
		return nil // from another origin, whatever for
	case err != nil:
		return fmt.Errorf("%s %s answers %d: %w", r.Method, r.URL.Path, status, err)
	}
	answer := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: r, PathParams: parameters, Route: route},
		Status:                 status, Header: header, Options: &openapi3filter.Options{IncludeResponseStatus: true},
	}
	if err := openapi3filter.ValidateResponse(r.Context(), answer.SetBodyBytes([]byte(body))); err != nil {
		return fmt.Errorf("%s %s: %w", r.Method, r.URL.Path, err)
	}
	return nil
}

func TestEveryRouteOfTheDescriptionIsThere(t *testing.T) {
	w := start(t)
	document, err := description()
	if err != nil {
		t.Fatal(err)
	}
	for path, item := range document.Paths.Map() {
		for method := range item.Operations() {
			t.Run(method+" "+path, func(t *testing.T) {
				r := w.get(path)
				r.Method = method
				if a := w.do(r); a.status == http.StatusNotFound && a.reason != "" || a.status == http.StatusMethodNotAllowed {
					t.Errorf("got %d %s, want an answer of the route", a.status, a.body)
				}
			})
		}
	}
}
