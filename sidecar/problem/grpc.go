package problem

import (
	"net/http"
	"strconv"
	"strings"
)

// IsGRPC reports whether a request is a gRPC call: its client reads a status in its own words, and takes other answers for a broken server.
// grpc-web is not, for its clients live in browsers and read HTTP.
func IsGRPC(r *http.Request) bool {
	const mediaType = "application/grpc"
	if r.ProtoMajor != 2 {
		return false
	}
	rest, is := strings.CutPrefix(r.Header.Get("Content-Type"), mediaType)
	return is && (rest == "" || rest[0] == '+' || rest[0] == ';')
}

// grpcCodes are https://grpc.io/docs/guides/status-codes/ for the statuses that we refuse with. Any other is UNKNOWN.
var grpcCodes = map[int]int{
	http.StatusBadRequest:            3,  // INVALID_ARGUMENT
	http.StatusUnauthorized:          16, // UNAUTHENTICATED
	http.StatusForbidden:             7,  // PERMISSION_DENIED
	http.StatusNotFound:              12, // UNIMPLEMENTED
	http.StatusMethodNotAllowed:      12,
	http.StatusRequestTimeout:        4, // DEADLINE_EXCEEDED
	http.StatusRequestEntityTooLarge: 8, // RESOURCE_EXHAUSTED
	http.StatusTooManyRequests:       14,
	http.StatusBadGateway:            14, // UNAVAILABLE: clients may try again
	http.StatusServiceUnavailable:    14,
	http.StatusGatewayTimeout:        14,
}

// GRPCStatus are the headers or trailers that say to a gRPC client what an HTTP status and a reason say to others.
func GRPCStatus(status int, reason string) http.Header {
	code, known := grpcCodes[status]
	if !known {
		code = 2
	}
	return http.Header{"Grpc-Status": {strconv.Itoa(code)}, "Grpc-Message": {reason}}
}

// writeGRPC answers by headers alone ("Trailers-Only" in gRPC's words).
func writeGRPC(w http.ResponseWriter, p Problem) {
	header := w.Header()
	header.Set("Content-Type", "application/grpc")
	header.Set("Cache-Control", "no-store")
	for name, values := range GRPCStatus(p.Status, p.Reason) {
		header[name] = values
	}
	header.Set("Latchkey-Decision", p.Decision)
	w.WriteHeader(http.StatusOK)
}
