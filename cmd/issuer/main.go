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
	"runtime"
	"syscall"

	"github.com/latchkey-dev/latchkey/internal/issuer"
	"github.com/latchkey-dev/latchkey/internal/profile"
)

// headroom is how much more garbage may gather than the runtime would let: else a token service under load, which has little in use, collects it
// twenty times a second.
const headroom = 8 << 20

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

	ballast := make([]byte, headroom) // counts as in use; nobody writes to it, so it takes no memory
	err = issuer.Run(ctx, options, log)
	runtime.KeepAlive(ballast)
	if err != nil {
		log.Error("stopped", "error", err)
		os.Exit(1)
	}
}
