// Package crossorigin decides what pages of other origins may do: which of them may read answers (CORS, as the Fetch standard has it), and which may
// send requests that carry a user's cookies. It knows requests and headers of answers, not tokens or rules.
package crossorigin
