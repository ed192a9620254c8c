// Package rotationload proves rotation under load: keys that change every ten seconds, clients that use every token from the moment they get it
// until it must be refused, and meanwhile the manager, kube-apiserver and etcd are killed again and again. It drives a whole installation from
// outside, over HTTP and through the API, and knows nothing of how anything in there is done. `make load` runs it for MINUTES; as a test
// among others it takes about a minute and a half.
//
// # The rule by which each request is judged
//
// A client knows of its token the exp and the kid. Of each key it knows what everybody can read: its end, once it has stopped signing, which is the
// member exp in the published key set. A token is good until the earlier of two instants, both on this machine's clock, which all
// processes share: its exp plus the clock skew of the policy, and the end of its key. For each request the client notes when it began to send it and
// when it had the answer.
//
//   - Answered before that instant: the token was good all the time, and anything but 200 is a fault (a valid token refused).
//   - Sent at that instant or later: the token was bad all the time, and anything but 401 is a fault (a token accepted after its time).
//   - Otherwise the instant lies within the request, and both 200 and 401 are right. Anything else is a fault.
//
// An answer that never comes is a fault at any time. So is a sign-in or a refresh that fails: neither needs the manager or the API. Requests are
// judged when the run is over, when every end is known that matters. Nothing is retried and nothing is forgiven.
//
// That nothing signs before every verifier can read it is judged by what sidecars say of themselves: each is asked all the time which keys it holds.
// A sidecar that is asked after a client has got a token, and does not report the key of that token before the key's end, is a fault. Sidecars
// are ready all the time and the time to wait for them never runs out, so there is no exception; a key that signs unacknowledged is a fault as well.
// What is more, each token is sent to every sidecar as soon as it is there.
//
// A run that has not outlived a key of each kind, or has not killed everything it should, proves nothing and fails.
//
// Where to read first:
//
//	load_test.go   the run
//	judge.go       the rule above
//	clients.go     who signs in, who signs, and how tokens are used
//	observer.go    what everybody can know of keys and sidecars
//	disturb.go     who is killed
//	report.go      what is told in the end
package rotationload
