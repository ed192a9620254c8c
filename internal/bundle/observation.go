package bundle

// AccessLog says of which requests a sidecar writes a line.
type AccessLog string

const (
	// AccessLogOff is none.
	AccessLogOff AccessLog = "Off"
	// AccessLogDenied is those that it answers in the app's place. "" means the same.
	AccessLogDenied AccessLog = "Denied"
	// AccessLogAll is all of them.
	AccessLogAll AccessLog = "All"
)

// checkObservation checks both, and leaves it to fail to say what is wrong.
func (b *Bundle) checkObservation(fail func(path, problem string)) {
	switch b.AccessLog {
	case "", AccessLogOff, AccessLogDenied, AccessLogAll:
	default:
		fail("accessLog", "must be Off, Denied or All")
	}
	if b.Tracing != nil {
		b.Tracing.Check(func(path, problem string) { fail("tracing."+path, problem) })
	}
}
