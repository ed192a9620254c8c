package main

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/policy"
	"github.com/latchkey-dev/latchkey/internal/policyspec"
	"github.com/latchkey-dev/latchkey/internal/strictjson"
)

const policyUsage = `Usage:
  latchkey policy check -f policy.yaml          tell all that is wrong with AuthPolicies, and all warnings
  latchkey policy eval -f policy.yaml [flags]   tell how an AuthPolicy decides about a request

Both work offline, with the code that decides in the sidecar. What only the API server or a cluster can see they do not tell: try
kubectl apply --dry-run=server for that.
`

// errNo is an answer, not a mistake: exit code 1, and nothing more to say.
var errNo = errors.New("no")

func policyCommand(args []string, in io.Reader, out io.Writer) error {
	if len(args) == 0 {
		return usageError{errors.New("policy: check or eval is required")}
	}
	switch args[0] {
	case "check":
		return checkPolicies(args[1:], in, out)
	case "eval":
		return evalPolicy(args[1:], in, out)
	case "help", "-h", "-help", "--help":
		_, err := io.WriteString(out, policyUsage)
		return err
	}
	return usageError{fmt.Errorf("policy: unknown command %q", args[0])}
}

// checkPolicies has exit code 1 if anything is wrong. Warnings alone are not.
func checkPolicies(args []string, in io.Reader, out io.Writer) error {
	flags := newFlags("policy check")
	file := flags.String("f", "", "`file` with AuthPolicies, others are passed over; - is standard input")
	if err := parse(flags, "-f <file>", args, out); err != nil {
		return err
	}
	policies, err := readPolicies(*file, in)
	if err != nil {
		return fmt.Errorf("policy check: %w", err)
	}
	good := true
	for _, p := range policies {
		wrong := policyspec.Check(p.Spec)
		for _, one := range wrong {
			fmt.Fprintf(out, "%s: error: %v\n", p.Name, one)
		}
		if len(wrong) > 0 {
			good = false
			continue
		}
		warnings := policyspec.Warnings(p.Spec)
		for _, one := range warnings {
			fmt.Fprintf(out, "%s: warning: %v (%s)\n", p.Name, one, one.Reason)
		}
		if len(warnings) == 0 {
			fmt.Fprintf(out, "%s: fine\n", p.Name)
		}
	}
	if !good {
		return errNo
	}
	return nil
}

// request is what a user asks about.
type request struct {
	method, host, path, claims string
	header                     http.Header
}

// evalPolicy answers as kubectl auth can-i does: exit code 0 for yes, 1 for no.
func evalPolicy(args []string, in io.Reader, out io.Writer) error {
	flags := newFlags("policy eval")
	asked := request{header: http.Header{}}
	file := flags.String("f", "", "`file` with one AuthPolicy, others are passed over; - is standard input")
	flags.StringVar(&asked.method, "method", http.MethodGet, "`method` of the request")
	flags.StringVar(&asked.host, "host", "localhost", "`host` of the request")
	flags.StringVar(&asked.path, "path", "/", "`path` of the request as it is sent, with its query")
	flags.StringVar(&asked.claims, "claims", "", "claims of its valid token, as a JSON `object`; without, it has none")
	flags.Func("header", "`name: value` of a header of the request; may be given several times", func(line string) error {
		name, value, found := strings.Cut(line, ":")
		if !found {
			return errors.New(`must be "name: value"`)
		}
		asked.header.Add(name, strings.TrimSpace(value))
		return nil
	})
	if err := parse(flags, "-f <file>", args, out); err != nil {
		return err
	}
	policies, err := readPolicies(*file, in)
	if err != nil {
		return fmt.Errorf("policy eval: %w", err)
	}
	if len(policies) != 1 {
		return fmt.Errorf("policy eval: the file holds %d AuthPolicies, and only one can be asked", len(policies))
	}
	spec := policies[0].Spec
	if wrong := policyspec.Check(spec); len(wrong) > 0 {
		return fmt.Errorf("policy eval: the policy would not be accepted: %w", errors.Join(wrong...))
	}
	allowed, err := asked.judge(spec, out)
	if err != nil {
		return fmt.Errorf("policy eval: %w", err)
	}
	if !allowed {
		return errNo
	}
	return nil
}

func (r request) judge(spec v1alpha1.AuthPolicySpec, out io.Writer) (allowed bool, err error) {
	program, err := policy.Compile(policyspec.Document(spec))
	if err != nil {
		return false, err
	}
	target, err := url.ParseRequestURI(r.path)
	if err != nil {
		return false, errors.New("--path must be a path that begins with /, percent-encoded where it must be")
	}
	path, err := policy.Normalize(target.EscapedPath())
	if err != nil {
		fmt.Fprintf(out, "refused: 400 ambiguous_path (%v)\n", err)
		return false, nil
	}
	host, err := policy.NormalizeHost(r.host)
	if err != nil {
		fmt.Fprintf(out, "refused: 400 ambiguous_host (%v)\n", err)
		return false, nil
	}
	var claims map[string]any
	var unfit *policy.ClaimRefusal
	if r.claims != "" {
		if claims, unfit, err = r.apply(spec); err != nil {
			return false, err
		}
	}
	decision := program.Decide(policy.Request{Method: r.method, Host: host, Path: path, Query: target.RawQuery, Header: r.header}, program.Read(claims))
	tell(out, decision, unfit)
	if status := decision.Status(); status > http.StatusBadRequest && program.Audits() {
		fmt.Fprintln(out, "mode: Audit lets it pass all the same")
		return true, nil
	}
	return decision.Allow, nil
}

// apply returns the claims as rules know them, or why the token is not valid.
func (r request) apply(spec v1alpha1.AuthPolicySpec) (map[string]any, *policy.ClaimRefusal, error) {
	claims, err := strictjson.ParseObject(r.claims)
	if err != nil {
		return nil, nil, fmt.Errorf("--claims: %w", err)
	}
	issuer, err := issuerOf(spec, claims["iss"])
	if err != nil {
		return nil, nil, err
	}
	program, err := policy.CompileClaims(policyspec.Claims(*issuer))
	if err != nil {
		return nil, nil, err
	}
	mapped, unfit := program.Apply(claims)
	return mapped, unfit, nil
}

// issuerOf finds the issuer whose claim rules and mappings count. The url of a TokenIssuer stands in a cluster, not in the policy.
func issuerOf(spec v1alpha1.AuthPolicySpec, iss any) (*v1alpha1.PolicyIssuer, error) {
	var ours []*v1alpha1.PolicyIssuer
	for i := range spec.Issuers {
		issuer := &spec.Issuers[i]
		if issuer.URL != "" && iss == any(issuer.URL) || iss == nil && len(spec.Issuers) == 1 {
			return issuer, nil
		}
		if issuer.URL == "" {
			ours = append(ours, issuer)
		}
	}
	if iss != nil && len(ours) == 1 {
		return ours[0], nil
	}
	return nil, errors.New("--claims: iss must be the url of one of the policy's issuers, else the token is not valid")
}

func tell(out io.Writer, decision policy.Decision, unfit *policy.ClaimRefusal) {
	rule := "default"
	if decision.Rule != policy.NoRule {
		rule = fmt.Sprintf("rules[%d]", decision.Rule)
	}
	switch {
	case decision.Allow:
		fmt.Fprintf(out, "allowed: %s, by %s\n", decision.Reason, rule)
	case unfit != nil && decision.Reason == policy.ReasonTokenRequired:
		fmt.Fprintf(out, "refused: %d %s, by %s\n", decision.Status(), unfit.Reason, rule)
	default:
		fmt.Fprintf(out, "refused: %d %s, by %s\n", decision.Status(), decision.Reason, rule)
	}
	if unfit != nil {
		fmt.Fprintf(out, "the token is not valid: %s\n", unfit.Message)
	}
}

// readPolicies reads the AuthPolicies of a file, strictly.
func readPolicies(file string, in io.Reader) ([]v1alpha1.AuthPolicy, error) {
	var data []byte
	var err error
	switch file {
	case "":
		return nil, usageError{errors.New("-f is required")}
	case "-":
		data, err = io.ReadAll(in)
	default:
		data, err = os.ReadFile(file) //nolint:gosec // the user's own file
	}
	if err != nil {
		return nil, err
	}
	var policies []v1alpha1.AuthPolicy
	for reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data))); ; {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", file, err)
		}
		var kind struct {
			Kind string `json:"kind"`
		}
		if err = yaml.Unmarshal(document, &kind); err != nil {
			return nil, fmt.Errorf("read %s: %w", file, err)
		}
		if kind.Kind != "AuthPolicy" {
			continue
		}
		var p v1alpha1.AuthPolicy
		if err = yaml.UnmarshalStrict(document, &p); err != nil {
			return nil, fmt.Errorf("read %s: %w", file, err)
		}
		policies = append(policies, p)
	}
	if len(policies) == 0 {
		return nil, fmt.Errorf("%s holds no AuthPolicy", file)
	}
	return policies, nil
}

func newFlags(name string) *flag.FlagSet {
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.SetOutput(io.Discard) // the caller prints the error, once
	return flags
}

// parse reads flags; synopsis is what stands before them in the usage.
func parse(flags *flag.FlagSet, synopsis string, args []string, out io.Writer) error {
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintf(out, "Usage: latchkey %s %s [flags]\n", flags.Name(), synopsis)
		flags.SetOutput(out)
		flags.PrintDefaults()
		return err
	case err != nil:
		return usageError{fmt.Errorf("%s: %w", flags.Name(), err)}
	case flags.NArg() > 0:
		return usageError{fmt.Errorf("%s: unexpected argument %q", flags.Name(), flags.Arg(0))}
	}
	return nil
}
