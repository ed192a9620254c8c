// Command issuer is the token service, which the manager runs for a TokenIssuer: it signs users in, keeps them signed in, and signs them out.
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

	"github.com/latchkey-dev/latchkey/internal/issuer"
	"github.com/latchkey-dev/latchkey/internal/profile"
)

func main() {
	options, err := issuer.ParseFlags(os.Args[1:], os.Stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return
	case err != nil:
		fmt.Fprintf(os.Stderr, "latchkey-issuer: %v\nlatchkey-issuer --help lists the flags.\n", err)
		os.Exit(2)
	}
	log := slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: options.LogLevel}))
	if !options.ProfileAddress.IsValid() {
		profile.Forgo()
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	context.AfterFunc(ctx, stop) // a second signal does not wait for requests in flight
	if err := issuer.Run(ctx, options, log); err != nil {
		log.Error("stopped", "error", err)
		os.Exit(1)
	}
}
