// Command sidecar is the container that the webhook injects into pods: it checks every request before the app sees it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/latchkey-dev/latchkey/sidecar"
)

func main() { os.Exit(run()) }

// run returns the exit code: 0 after SIGTERM, 1 when it could not start or go on, 2 when the flags are wrong.
func run() int {
	config, err := sidecar.ParseFlags(os.Args[1:], os.Stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintf(os.Stderr, "latchkey-sidecar: %v\nlatchkey-sidecar --help lists the flags.\n", err)
		return 2
	}
	log := slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: config.LogLevel}))
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := sidecar.Run(ctx, config, log); err != nil {
		log.Error("stopped", "error", err)
		return 1
	}
	return 0
}
