package issuer

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"

	"github.com/latchkey-dev/latchkey/internal/strictjson"
)

// maxBody bounds the body of a request.
const maxBody = 16 << 10

// readJSON reads the body of a request. No form that a browser sends across origins has the Content-Type that it asks for.
func readJSON(w http.ResponseWriter, r *http.Request, into any, form string) error {
	body, err := readBody(w, r, "application/json")
	if err != nil {
		return err
	}
	if strictjson.Unmarshal(body, into) != nil { // the error may quote a password
		return malformed("the body must be " + form)
	}
	return nil
}

// readForm reads the parameters of an OAuth request. Each may be there once (RFC 6749, section 3.2); those that nobody knows are ignored.
func readForm(w http.ResponseWriter, r *http.Request) (map[string]string, error) {
	body, err := readBody(w, r, "application/x-www-form-urlencoded")
	if err != nil {
		return nil, err
	}
	values, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, malformed("the body must be form-encoded parameters")
	}
	parameters := make(map[string]string, len(values))
	for name, all := range values {
		if len(all) > 1 {
			return nil, malformed("a parameter is there more than once")
		}
		parameters[name] = all[0]
	}
	return parameters, nil
}

func readBody(w http.ResponseWriter, r *http.Request, contentType string) ([]byte, error) {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != contentType {
		return nil, &refusal{status: http.StatusUnsupportedMediaType, reason: ReasonMalformed, detail: "Content-Type must be " + contentType}
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, malformed("the body has more than 16 KiB")
	case err != nil:
		return nil, malformed("the body cannot be read")
	}
	return body, nil
}
