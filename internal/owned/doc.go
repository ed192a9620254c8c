// Package owned writes the objects that belong to one of Latchkey's own. It knows owner references, server-side apply, conditional writes,
// and when a write can be left out; it does not know what the objects mean.
//
// Three rules hold for all of them: an object of the right name that belongs to somebody else is never touched, a write that would
// change nothing is not sent, and a write that somebody else overtook fails with a conflict instead of winning.
package owned
