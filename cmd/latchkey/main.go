// Command latchkey is the command line tool for those who write Latchkey's objects, and for those who wonder about a refusal.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime/debug"
)

const usage = `latchkey helps to write Latchkey's objects, and tells why a request was refused.

Usage:
  latchkey hash-password [flags]   read a password from standard input, write the hash for users.yaml
  latchkey policy check -f file    tell what is wrong with AuthPolicies, without a cluster
  latchkey policy eval -f file     tell how an AuthPolicy decides about a request, without a cluster
  latchkey explain <decision id>   tell what the id of a refusal stands for, by asking the pods of a cluster
  latchkey version                 write the version

latchkey <command> --help lists the flags of a command.
`

// usageError is a mistake on the command line, as against one at work: exit code 2.
type usageError struct{ error }

func main() {
	err := run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	var wrong usageError
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
	case errors.Is(err, errNo):
		os.Exit(1)
	case errors.As(err, &wrong):
		fmt.Fprintf(os.Stderr, "latchkey: %v\nlatchkey --help lists the commands.\n", err)
		os.Exit(2)
	default:
		fmt.Fprintf(os.Stderr, "latchkey: %v\n", err)
		os.Exit(1)
	}
}

func run(args []string, in *os.File, out, messages io.Writer) error {
	if len(args) == 0 {
		return usageError{errors.New("a command is required")}
	}
	switch command := args[0]; command {
	case "hash-password":
		return hashPassword(args[1:], in, out, messages)
	case "policy":
		return policyCommand(args[1:], in, out)
	case "explain":
		return explainDecision(args[1:], out)
	case "version":
		if len(args) > 1 {
			return usageError{fmt.Errorf("version: unexpected argument %q", args[1])}
		}
		_, err := fmt.Fprintln(out, "latchkey", version())
		return err
	case "help", "-h", "-help", "--help":
		_, err := io.WriteString(out, usage)
		return err
	default:
		return usageError{fmt.Errorf("unknown command %q", command)}
	}
}

func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
