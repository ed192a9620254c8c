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

func main() {
	config, err := sidecar.ParseFlags(os.Args[1:], os.Stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return
	case err != nil:
		fmt.Fprintf(os.Stderr, "latchkey-sidecar: %v\nlatchkey-sidecar --help lists the flags.\n", err)
		os.Exit(2)
	}
	log := slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: config.LogLevel}))
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := sidecar.Run(ctx, config, log); err != nil {
		log.Error("stopped", "error", err)
		os.Exit(1)
	}
}
