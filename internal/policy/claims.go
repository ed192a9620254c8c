package policy

import (
	"fmt"
	"slices"
	"strings"
)

// Claims are those of one valid token, as a Program reads them: what its rules ask of them is answered, and nothing else is kept. They never change,
// and may be used by any number of goroutines.
type Claims struct {
	program *Program       // that read them
	met     []uint64       // a bit for each of the program's questions
	seen    map[string]any // what its expressions see; nil where there are none
}

// Read answers what rules ask of the claims of a token, so that it need not be asked on every request, and the claims need not be kept. It
// returns nil for nil: no token.
func (p *Program) Read(claims map[string]any) *Claims {
	if claims == nil {
		return nil
	}
	read := &Claims{program: p, met: make([]uint64, (p.questions.count+63)/64), seen: p.visible.of(claims)}
	for i := range p.questions.claims {
		asked := &p.questions.claims[i]
		read.meet(asked.at.in(claims), asked.meets)
	}
	if len(p.questions.scopes) > 0 {
		read.grant(claims["scope"])
		read.grant(claims["scp"])
	}
	return read
}

// Size is about how many bytes of memory the claims take.
func (c *Claims) Size() int {
	const own = 64
	return own + 8*len(c.met) + sizeOf(c.seen)
}

func (c *Claims) yes(question int) { c.met[question/64] |= 1 << (question % 64) }

func (c *Claims) isMet(question int) bool { return c.met[question/64]&(1<<(question%64)) != 0 }

// meet takes a claim that is a string, or a list of which the strings count. Numbers, booleans and objects never meet a requirement: "1" and 1
// are different claims, and an issuer that mixes them up should not be guessed at.
func (c *Claims) meet(claim any, meets map[string][]int) {
	switch value := claim.(type) {
	case string:
		for _, question := range meets[value] {
			c.yes(question)
		}
	case []any:
		for _, element := range value {
			if text, isText := element.(string); isText {
				for _, question := range meets[text] {
					c.yes(question)
				}
			}
		}
	}
}

// grant takes a claim that lists scopes. RFC 8693 and RFC 9068 put them into the claim scope, a string with spaces between them; others into scp,
// as a string or a list, and some make a list of scope as well. All of these are read, and no spelling grants what another would not.
func (c *Claims) grant(claim any) {
	scopes := c.program.questions.scopes
	switch value := claim.(type) {
	case string:
		for rest, more := value, true; more; {
			var one string
			one, rest, more = strings.Cut(rest, " ")
			if question, asked := scopes[one]; asked {
				c.yes(question)
			}
		}
	case []any:
		for _, element := range value {
			if text, isText := element.(string); isText {
				if question, asked := scopes[text]; asked {
					c.yes(question)
				}
			}
		}
	}
}

// questions are what the rules of a program ask of claims, each with a number. Claims alone answer them, whatever the request.
type questions struct {
	count  int
	claims []askedClaim
	scopes map[string]int // the question whether it was granted
}

// askedClaim is a claim that requirements name.
type askedClaim struct {
	name  string
	at    claimAt
	meets map[string][]int // the requirements that a value meets
	asked map[string]int   // the requirements, by their values as written
}

func (q *questions) next() int {
	q.count++
	return q.count - 1
}

// requirement returns the question whether the claim is one of the strings, or a list that has one of them.
func (q *questions) requirement(r Requirement) int {
	i := slices.IndexFunc(q.claims, func(c askedClaim) bool { return c.name == r.Claim })
	if i < 0 {
		i = len(q.claims)
		q.claims = append(q.claims, askedClaim{r.Claim, compileClaim(r.Claim), map[string][]int{}, map[string]int{}})
	}
	claim := &q.claims[i]
	written := fmt.Sprintf("%q", r.AnyOf)
	question, before := claim.asked[written]
	if !before {
		question = q.next()
		claim.asked[written] = question
		for _, value := range r.AnyOf {
			claim.meets[value] = append(claim.meets[value], question)
		}
	}
	return question
}

// scope returns the question whether the scope was granted.
func (q *questions) scope(name string) int {
	question, before := q.scopes[name]
	if !before {
		if q.scopes == nil {
			q.scopes = map[string]int{}
		}
		question = q.next()
		q.scopes[name] = question
	}
	return question
}

// isScope says whether s can be a scope (RFC 6749 section 3.3). None of these characters needs a backslash in the header of a challenge.
func isScope(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c == '"' || c == '\\' || c >= 0x7f {
			return false
		}
	}
	return s != "" && len(s) <= maxScope
}

// maxScope bounds the names of scopes, as the API does.
const maxScope = 128
