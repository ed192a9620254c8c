package policy

import (
	"encoding/json"
	"slices"
	"strings"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
)

// visible are the top-level claims that the expressions of a document can see. Of a token nothing else need be kept for them.
type visible struct {
	names []string // each once
	all   bool     // because an expression does something else with claims than to ask for one by its name
}

// to adds what an expression can see.
func (v *visible) to(expression ast.Expr) {
	uses := 0
	ast.PreOrderVisit(expression, ast.NewExprVisitor(func(e ast.Expr) {
		if isClaims(e) {
			uses++
		} else if name, named := claimOf(e); named {
			uses--
			if !slices.Contains(v.names, name) {
				v.names = append(v.names, name)
			}
		}
	}))
	v.all = v.all || uses != 0
}

func isClaims(e ast.Expr) bool { return e.Kind() == ast.IdentKind && e.AsIdent() == varClaims }

// claimOf returns which claim is asked for by claims.name, has(claims.name), claims["name"] or "name" in claims.
func claimOf(e ast.Expr) (name string, named bool) {
	switch e.Kind() { //nolint:exhaustive // nothing else asks for a claim
	case ast.SelectKind:
		return e.AsSelect().FieldName(), isClaims(e.AsSelect().Operand())
	case ast.CallKind:
		call := e.AsCall()
		if len(call.Args()) != 2 {
			return "", false
		}
		claims, key := call.Args()[0], call.Args()[1]
		switch call.FunctionName() {
		case operators.Index:
		case operators.In:
			claims, key = key, claims
		default:
			return "", false
		}
		if !isClaims(claims) || key.Kind() != ast.LiteralKind {
			return "", false
		}
		text, isText := key.AsLiteral().(types.String)
		return string(text), isText
	}
	return "", false
}

// of returns what is visible of the claims of a token, in memory of its own: nil where there is nothing to see.
func (v *visible) of(claims map[string]any) map[string]any {
	if v.all {
		return kept(claims)
	}
	var seen map[string]any
	for _, name := range v.names {
		if claim, there := claims[name]; there {
			if seen == nil {
				seen = make(map[string]any, len(v.names))
			}
			seen[name] = keep(claim)
		}
	}
	return seen
}

func kept(object map[string]any) map[string]any {
	own := make(map[string]any, len(object))
	for name, member := range object {
		own[strings.Clone(name)] = keep(member)
	}
	return own
}

// keep returns the same claim, without the memory of the token that it was read from.
func keep(claim any) any {
	switch claim := claim.(type) {
	case string:
		return strings.Clone(claim)
	case json.Number:
		return json.Number(strings.Clone(string(claim)))
	case []any:
		own := make([]any, len(claim))
		for i, element := range claim {
			own[i] = keep(element)
		}
		return own
	case map[string]any:
		return kept(claim)
	}
	return claim
}

// sizeOf is about how many bytes of memory a claim takes.
func sizeOf(claim any) int {
	const value, member = 16, 48
	switch claim := claim.(type) {
	case string:
		return value + len(claim)
	case json.Number:
		return value + len(claim)
	case []any:
		size := value
		for _, element := range claim {
			size += value + sizeOf(element)
		}
		return size
	case map[string]any:
		if claim == nil {
			return 0
		}
		size := member
		for name, element := range claim {
			size += member + len(name) + sizeOf(element)
		}
		return size
	}
	return 0
}
