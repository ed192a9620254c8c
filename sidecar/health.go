package sidecar

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

// checkHealth asks grpc.health.v1.Health/Check (https://github.com/grpc/grpc/blob/master/doc/health-checking.md) for one service, or for the server
// as a whole, and returns whether it is SERVING. A library of gRPC would be half of the sidecar.
func checkHealth(ctx context.Context, client *http.Client, address, service string) (bool, error) {
	var question []byte
	if service != "" {
		question = protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), service)
	}
	// #nosec G115 -- the name of a service
	framed := append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(question))), question...)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+address+"/grpc.health.v1.Health/Check", bytes.NewReader(framed))
	if err != nil {
		return false, err
	}
	request.Header = http.Header{"Content-Type": {"application/grpc"}, "Te": {"trailers"}, "User-Agent": {probeAgent}}
	response, err := client.Do(request)
	if err != nil {
		return false, err
	}
	defer func() { _ = response.Body.Close() }()
	const most = 1 << 10 // of an answer that is one number
	answer, err := io.ReadAll(io.LimitReader(response.Body, most))
	if err != nil {
		return false, err
	}
	status := response.Trailer.Get("Grpc-Status")
	if status == "" {
		status = response.Header.Get("Grpc-Status") // an answer without a body
	}
	if response.StatusCode != http.StatusOK || !strings.HasPrefix(response.Header.Get("Content-Type"), "application/grpc") || status != "0" {
		return false, fmt.Errorf("the health service answers %s, grpc-status %q", response.Status, status)
	}
	return isServing(answer), nil
}

// isServing reads a HealthCheckResponse: the field 1, status, is 1.
func isServing(framed []byte) bool {
	const header = 5 // a byte that says whether what follows is compressed, and its length
	if len(framed) < header || framed[0] != 0 || int(binary.BigEndian.Uint32(framed[1:])) != len(framed)-header {
		return false
	}
	status := uint64(0)
	for rest := framed[header:]; len(rest) > 0; {
		number, kind, n := protowire.ConsumeTag(rest)
		if n < 0 {
			return false
		}
		rest = rest[n:]
		if number == 1 && kind == protowire.VarintType {
			status, n = protowire.ConsumeVarint(rest)
		} else {
			n = protowire.ConsumeFieldValue(number, kind, rest)
		}
		if n < 0 {
			return false
		}
		rest = rest[n:]
	}
	return status == 1
}
