package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	"k8s.io/client-go/tools/clientcmd"

	"github.com/latchkey-dev/latchkey/internal/explain"
)

// explainDecision looks up the id that a refusal has, and says what it means.
func explainDecision(args []string, out io.Writer) error {
	var id string
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		id, args = args[0], args[1:]
	}
	flags := newFlags("explain")
	var where explain.Where
	var overrides clientcmd.ConfigOverrides
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	flags.StringVar(&where.Namespace, "n", "", "`namespace` of the pods; that of the kubeconfig's context if not given")
	flags.StringVar(&where.Pod, "pod", "", "ask the pod of this `name` alone")
	flags.StringVar(&where.Policy, "policy", "", "ask only pods under the AuthPolicy of this `name`")
	flags.StringVar(&rules.ExplicitPath, "kubeconfig", "", "`file` that says how to reach the API server; as kubectl finds it if not given")
	flags.StringVar(&overrides.CurrentContext, "context", "", "`name` of a context of the kubeconfig")
	if err := parse(flags, "<decision id>", args, out); err != nil {
		return err
	}
	if id == "" {
		return usageError{errors.New("explain: the id of a decision is required, before all flags: latchkey explain <id> -n <namespace>")}
	}
	kubeconfig := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &overrides)
	config, err := kubeconfig.ClientConfig()
	if err != nil {
		return fmt.Errorf("explain: %w", err)
	}
	if where.Namespace == "" {
		if where.Namespace, _, err = kubeconfig.Namespace(); err != nil {
			return fmt.Errorf("explain: %w", err)
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	found, err := explain.Find(ctx, config, where, id)
	if err != nil {
		return fmt.Errorf("explain: %w", err)
	}
	return found.Write(out)
}
