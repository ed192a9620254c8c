// Package servers starts real PostgreSQL and Redis servers of Debian's for tests: each in a directory of its own, on an address of its own,
// gone when the test is, however it ends. It knows how servers are run and hurt, not what is kept in them.
package servers
