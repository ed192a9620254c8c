// Package http1 speaks HTTP/1.1 as nearly all callers and apps do, faster than net/http: a connection is served, and the app's asked, by one
// goroutine with buffers that go round. It reads only messages in which nothing could be read in two ways; all others, and whole
// connections with them, it hands to net/http as they came. What it does read it reads as net/http does, so those who judge
// requests need not know by which of the two they came.
//
// It knows sockets and messages. It knows no policies, tokens or files.
package http1
