package jwksource

import "time"

// State is what is known of a source.
type State struct {
	// Fetched is what the last fetch that succeeded has brought; nil: none has, yet.
	Fetched *Fetched
	// At is when that was, or when the server said last that there is nothing newer.
	At time.Time
	// Failure is why the last fetch failed; nil when it succeeded, or there was none yet.
	Failure *Failure
	// Pending says that the first fetch is under way, and that it is worth waiting for.
	Pending bool
}
