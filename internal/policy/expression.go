package policy

import (
	"fmt"
	"strings"
	"sync"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/cost"
	"cel.dev/cel-go/common/env"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"
)

const (
	// maxExpression bounds the characters of one expression, as the API does.
	maxExpression = 2048
	// maxDepth bounds how deep it is nested.
	maxDepth = 50
	// maxCost bounds what one expression may cost, in the units of CEL, both as it is estimated when it is compiled and when it is evaluated. A
	// unit is 100 to 300 ns, so the worst request keeps a core for some milliseconds.
	maxCost = 20_000
	// maxTotalCost bounds the estimates of a whole document.
	maxTotalCost = 20 * maxCost
	// maxExpressions bounds how many a document has.
	maxExpressions = 256
	// assumedSize is how many elements a list, and how many characters a string of a token or a request are estimated to have. A longer one is
	// evaluated as well, within maxCost.
	assumedSize = 256
)

// subject is what an expression is about.
type subject int

const (
	ofClaims   subject = iota // the claims of a token
	ofRequests                // these and a request
)

// The variables of expressions. Those of a request are names with a dot in them to CEL, so that each has a type of its own and a misspelt one is found
// when the document is compiled.
const (
	varClaims  = "claims"
	varMethod  = "request.method"
	varHost    = "request.host"
	varPath    = "request.path"
	varQuery   = "request.query"
	varHeaders = "request.headers"
)

// functions are those of CEL's standard library that expressions have. Left out: matches, since a pattern that fits into an expression may take
// megabytes to compile; timestamps and durations, since there is no now, and time zones are read from files; and bytes.
var functions = []string{
	operators.Conditional, operators.LogicalAnd, operators.LogicalOr, operators.LogicalNot, operators.NotStrictlyFalse,
	operators.Equals, operators.NotEquals, operators.Less, operators.LessEquals, operators.Greater, operators.GreaterEquals,
	operators.Add, operators.Subtract, operators.Multiply, operators.Divide, operators.Modulo, operators.Negate,
	operators.Index, operators.In, overloads.Size, overloads.Contains, overloads.StartsWith, overloads.EndsWith,
	overloads.TypeConvertBool, overloads.TypeConvertDouble, overloads.TypeConvertDyn, overloads.TypeConvertInt, overloads.TypeConvertString,
	overloads.TypeConvertType, overloads.TypeConvertUint,
}

// environments are made when the first expression is compiled: a sidecar without any need not hold them.
var environments = sync.OnceValue(func() map[subject]*cel.Env {
	subset := &env.LibrarySubset{}
	for _, name := range functions {
		subset.IncludeFunctions = append(subset.IncludeFunctions, env.NewFunction(name))
	}
	values := cel.MapType(cel.StringType, cel.ListType(cel.StringType))
	claims, err := cel.NewCustomEnv(
		cel.StdLib(cel.StdLibSubset(subset)), cel.ParserRecursionLimit(maxDepth),
		cel.Variable(varClaims, cel.MapType(cel.StringType, cel.DynType)),
	)
	if err == nil {
		var requests *cel.Env
		requests, err = claims.Extend(
			cel.Variable(varMethod, cel.StringType), cel.Variable(varHost, cel.StringType), cel.Variable(varPath, cel.StringType),
			cel.Variable(varQuery, values), cel.Variable(varHeaders, values),
		)
		if err == nil {
			return map[subject]*cel.Env{ofClaims: claims, ofRequests: requests}
		}
	}
	panic("make the environment of expressions, which is always the same: " + err.Error())
})

// budget is what the expressions of one document may cost together.
type budget struct {
	count int
	cost  uint64
	sees  visible // to these expressions
}

func newBudget() *budget { return &budget{} }

// condition compiles an expression that is true or false. It returns nil where it has told c of an error.
func (b *budget) condition(c check, source string, about subject) cel.Program {
	return b.compile(c, source, about, func(t *cel.Type) string {
		if t.IsExactType(cel.BoolType) {
			return ""
		}
		return fmt.Sprintf("must be true or false, as in claims.level == 2, but its type is %s", t)
	})
}

// compile checks, estimates and plans an expression whose type the caller has nothing against.
func (b *budget) compile(c check, source string, about subject, refuse func(*cel.Type) string) cel.Program {
	b.count++
	switch {
	case utf8.RuneCountInString(source) > maxExpression:
		c.fail("must be 2048 characters long at most")
		return nil
	case b.count == maxExpressions+1:
		c.fail(fmt.Sprintf("is one too many: there may be %d expressions", maxExpressions))
		return nil
	case b.count > maxExpressions:
		return nil
	}
	environment := environments()[about]
	ast, issues := environment.Compile(source)
	if issues.Err() != nil {
		for _, issue := range issues.Errors() {
			c.fail(fmt.Sprintf("%d:%d: %s", issue.Location.Line(), issue.Location.Column()+1, strings.TrimSuffix(issue.Message, " (in container '')")))
		}
		return nil
	}
	if problem := refuse(ast.OutputType()); problem != "" {
		c.fail(problem)
		return nil
	}
	estimate, err := environment.EstimateCost(ast, assumed{})
	switch {
	case err != nil:
		c.fail("its cost cannot be estimated: " + err.Error())
		return nil
	case estimate.Max > maxCost:
		c.fail(fmt.Sprintf("may cost %d, more than %d, for claims with %d elements of %d characters: do not nest loops over them",
			estimate.Max, maxCost, assumedSize, assumedSize))
		return nil
	}
	b.sees.to(ast.NativeRep().Expr())
	before := b.cost
	b.cost += estimate.Max
	if before <= maxTotalCost && b.cost > maxTotalCost {
		c.fail(fmt.Sprintf("makes all expressions together cost more than %d: use fewer loops", maxTotalCost))
		return nil
	}
	program, err := environment.Program(ast, cel.CostLimit(maxCost))
	if err != nil {
		c.fail(err.Error())
		return nil
	}
	return program
}

// assumed estimates sizes of what comes from outside. Everything else, CEL knows.
type assumed struct{}

func (assumed) EstimateSize(node cost.AstNode) *cost.SizeEstimate {
	if len(node.Path()) == 0 {
		return nil
	}
	size := cost.RangedSizeEstimate(0, assumedSize)
	return &size
}

func (assumed) EstimateCallCost(string, string, *cost.AstNode, []cost.AstNode) *cost.CallEstimate {
	return nil
}

// expression is that of a rule.
type expression struct {
	program cel.Program
	headers func(*Request) (map[string][]string, error)
}

// judge returns why the expression is not true, "" when it is. It is where a request escapes to the heap, so that those that meet no
// expression never do.
func (e *expression) judge(r Request, claims map[string]any) Reason {
	value, _, err := e.program.Eval(&activation{request: r, claims: claims, headers: e.headers})
	switch {
	case err != nil:
		return ReasonExpressionError
	case value != types.True:
		return ReasonExpressionFalse
	}
	return ""
}

// activation gives an expression its variables, each when it is asked for.
type activation struct {
	request Request
	claims  map[string]any
	headers func(*Request) (map[string][]string, error)
}

// ResolveName is CEL's question for a variable.
func (a *activation) ResolveName(name string) (any, bool) {
	switch name {
	case varClaims:
		return a.claims, true
	case varMethod:
		return a.request.Method, true
	case varHost:
		return a.request.Host, true
	case varPath:
		return a.request.Path, true
	case varHeaders:
		return orError(a.headers(&a.request)), true
	case varQuery:
		return orError(a.request.visibleQuery()), true
	}
	return nil, false
}

// orError makes an error the value of a variable, and so of every expression that needs it.
func orError(value map[string][]string, err error) any {
	if err != nil {
		return types.WrapErr(err)
	}
	return value
}

// Parent says that there is no other activation behind this one.
func (a *activation) Parent() cel.Activation { return nil }

func (p *Program) condition(b *budget, c check, source string) *expression {
	program := b.condition(c, source, ofRequests)
	if program == nil {
		return nil
	}
	return &expression{program: program, headers: p.visibleHeaders}
}
