package jwksource

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"strings"
)

// Kind is how a fetch failed. The values are stable: metrics have them for a label.
type Kind string

const (
	// KindAddress means that the URL leads to an address that is never dialled.
	KindAddress Kind = "address"
	// KindConnect means that no connection came about.
	KindConnect Kind = "connect"
	// KindTLS means that the server did not prove who it is.
	KindTLS Kind = "tls"
	// KindTimeout means that the answer did not come in time.
	KindTimeout Kind = "timeout"
	// KindStatus means that the answer has another status than 200.
	KindStatus Kind = "status"
	// KindDocument means that the answer is too large, or no document with a key that can be used.
	KindDocument Kind = "document"
)

// A Failure is why a fetch failed. Its text is for the people who named the URL. They may have no right to see what is behind it, so there is
// next to nothing of an answer in it, and what went wrong before there was one is told coarsely.
type Failure struct {
	Kind   Kind
	Detail string
}

func (f *Failure) Error() string { return f.Detail }

// Outcome names an error of Fetch in metrics.
func Outcome(err error) string {
	var failure *Failure
	if errors.As(err, &failure) {
		return string(failure.Kind)
	}
	return string(KindDocument)
}

// maxDetail bounds what a Failure tells, in bytes.
const maxDetail = 512

func fail(kind Kind, detail string) *Failure {
	if len(detail) > maxDetail {
		detail = strings.ToValidUTF8(detail[:maxDetail], "") + " ..."
	}
	return &Failure{kind, detail}
}

// addressError carries the verdict of an AddressRule through the dialer.
type addressError struct{ why string }

func (e *addressError) Error() string { return e.why }

// transportFailure tells of an error of net/http without its text, which may quote what the other side sent.
func transportFailure(what string, err error) *Failure {
	var refused *addressError
	var dns *net.DNSError
	var dial *net.OpError
	switch {
	case errors.As(err, &refused):
		return fail(KindAddress, what+" leads to an address that is never dialled: it "+refused.why)
	case errors.As(err, &dns):
		return fail(KindConnect, what+": the name of its host cannot be resolved")
	case errors.As(err, &dial) && dial.Op == "dial":
		return fail(KindConnect, what+" cannot be connected to")
	}
	if detail := tlsDetail(err); detail != "" {
		return fail(KindTLS, what+": "+detail)
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) || isTimeout(err) {
		return fail(KindTimeout, what+" did not answer in time")
	}
	return fail(KindConnect, what+": the connection broke, or what came is no HTTP")
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// tlsDetail says what is wrong with a certificate or a handshake; "" when nothing of that kind is.
func tlsDetail(err error) string {
	var authority x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	var roots x509.SystemRootsError
	var verification *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var handshake *net.OpError
	switch {
	case errors.As(err, &authority):
		return "its certificate is from no authority that is trusted here"
	case errors.As(err, &name):
		return "its certificate is for another name"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "its certificate has expired, or is not valid yet"
	case errors.As(err, &roots):
		return "this machine trusts no authorities; name one in certificateAuthority"
	case errors.As(err, &invalid), errors.As(err, &verification):
		return "its certificate is not valid"
	case errors.As(err, &record):
		return "what answers does not speak TLS"
	case errors.As(err, &handshake) && strings.HasSuffix(handshake.Op, " error"), strings.HasPrefix(err.Error(), "tls: "): // "remote error", "local error"
		return "the TLS handshake failed"
	}
	return ""
}
