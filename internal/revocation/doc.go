// Package revocation owns what the token service and the sidecars tell each other about sessions that ended before their access tokens
// expired: the entries, the set that answers "is this session revoked?", its form on disk, and the event stream between the two. It
// knows hashes, numbers and times; it knows neither databases nor connections nor what a token looks like.
//
// Entries are numbered from 1 within a stream, and a stream belongs to one database. A follower says which stream it follows and which
// number it has, and receives what is newer. A server that knows another stream, or does not know that number, sends a reset first and
// then everything that is still in force. A reset moves the follower's position; it never makes it forget an entry, for a database that
// was lost does not bring anybody's session back.
package revocation
