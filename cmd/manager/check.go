package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/inject/serving"
)

// leaseGrace is how long ago, by clocks that may differ, the manager that leads may have said so last. It says so every two seconds.
const leaseGrace = time.Minute

// parseCheckFlags reads the command line of `latchkey-manager check`, without these two words.
func parseCheckFlags(args []string, usage io.Writer) (namespace string, err error) {
	flags := flag.NewFlagSet("latchkey-manager check", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // the caller prints the error, once
	flags.StringVar(&namespace, "namespace", "", "the managers' `namespace`; required")
	err = flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		flags.SetOutput(usage)
		_, _ = fmt.Fprintln(usage, "Usage: latchkey-manager check --namespace=<namespace>")
		flags.PrintDefaults()
	case err == nil && flags.NArg() > 0:
		err = fmt.Errorf("unexpected argument %q: everything is said with flags", flags.Arg(0))
	case err == nil && namespace == "":
		err = errors.New("--namespace: required")
	}
	return namespace, err
}

// check says what does not work of an installation: its kinds, the manager that leads, the webhook. It needs the managers' own rights, no more,
// and changes nothing.
func check(ctx context.Context, config *rest.Config, namespace string, now time.Time) error {
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return err
	}
	c, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return err
	}
	return errors.Join(checkKinds(ctx, c, namespace), checkLeader(ctx, c, namespace, now), serving.Check(ctx, c, namespace))
}

func checkKinds(ctx context.Context, c client.Reader, namespace string) error {
	for _, list := range []client.ObjectList{&v1alpha1.SigningKeyList{}, &v1alpha1.TokenIssuerList{}, &v1alpha1.AuthPolicyList{}} {
		if err := c.List(ctx, list, client.InNamespace(namespace), client.Limit(1)); err != nil {
			return fmt.Errorf("Latchkey's kinds: %w", err) //nolint:staticcheck // a name
		}
	}
	return nil
}

func checkLeader(ctx context.Context, c client.Reader, namespace string, now time.Time) error {
	var lease coordinationv1.Lease
	if err := c.Get(ctx, client.ObjectKey{Namespace: namespace, Name: leaseName}, &lease); err != nil {
		return fmt.Errorf("the manager that leads: %w", err)
	}
	if ptr.Deref(lease.Spec.HolderIdentity, "") == "" || lease.Spec.RenewTime == nil || now.Sub(lease.Spec.RenewTime.Time) > leaseGrace {
		return fmt.Errorf("no manager leads: see the pods and their logs in namespace %s", namespace)
	}
	return nil
}
