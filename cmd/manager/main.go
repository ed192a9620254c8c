// Command manager runs Latchkey's controllers and its admission webhook. It owns the flags and the order of starting; what runs is listed
// in package controllers.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
)

func main() {
	os.Exit(run(ctrl.SetupSignalHandler(), os.Args[1:], os.Stderr))
}

// run returns the exit code: 2 when the flags make no sense, 1 when the manager could not start or had to stop.
func run(ctx context.Context, args []string, stderr io.Writer) int {
	if len(args) > 0 && args[0] == "check" {
		return runCheck(ctx, args[1:], stderr)
	}
	o, err := parseFlags(args, stderr)
	if err != nil {
		return refuse(err, stderr)
	}

	handler := slog.NewJSONHandler(stderr, &slog.HandlerOptions{Level: o.logLevel})
	ctrl.SetLogger(logr.FromSlogHandler(handler))
	klog.SetSlogLogger(slog.New(handler)) // client-go's own lines

	config, err := ctrl.GetConfig()
	if err == nil {
		err = manage(ctx, config, o)
	}
	if err != nil {
		slog.New(handler).Error("the manager stops", "err", err)
		return 1
	}
	return 0
}

// runCheck is `latchkey-manager check`: 1 when something does not work.
func runCheck(ctx context.Context, args []string, stderr io.Writer) int {
	namespace, err := parseCheckFlags(args, stderr)
	if err != nil {
		return refuse(err, stderr)
	}
	config, err := ctrl.GetConfig()
	if err == nil {
		err = check(ctx, config, namespace, time.Now())
	}
	if err != nil {
		_, _ = fmt.Fprintf(stderr, "latchkey-manager: %v\n", err)
		return 1
	}
	_, _ = fmt.Fprintln(stderr, "latchkey-manager: the kinds are there, a manager leads, and the webhook answers")
	return 0
}

// refuse says what is wrong with the command line, unless help was asked for.
func refuse(err error, stderr io.Writer) int {
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	_, _ = fmt.Fprintf(stderr, "latchkey-manager: %v\nTry --help.\n", err)
	return 2
}
