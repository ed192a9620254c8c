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
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/latchkey-dev/latchkey/internal/profile"
	"github.com/latchkey-dev/latchkey/sidecar"
	"github.com/latchkey-dev/latchkey/sidecar/keeper"
	"github.com/latchkey-dev/latchkey/sidecar/residency"
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
	// Another container may have this process's user and share the pod's process namespace. It shall not read memory, files or sockets of what judges its
	// callers. Parent and child come by here.
	if err = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		fmt.Fprintf(os.Stderr, "latchkey-sidecar: keep others of the same user out of this process: %v\n", err)
		return 1
	}
	log := slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: config.LogLevel}))
	if !config.Profile {
		profile.Forgo()
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if config.Sockets == 0 {
		return parent(ctx, config, log)
	}
	sockets, err := sidecar.Inherit(config.Sockets)
	if err == nil {
		err = sidecar.Run(ctx, config, sockets, log)
	}
	if err != nil {
		log.Error("stopped", "error", err)
		return 1
	}
	return 0
}

// parent binds the sockets, and has a child serve on them: this process does nothing else, so that it never lets go of them.
func parent(ctx context.Context, config sidecar.Config, log *slog.Logger) int {
	if err := residency.SmallPages(); err != nil {
		log.Warn("memory may come in large pieces", "error", err)
	}
	sockets, err := sidecar.Listen(ctx, config)
	if err != nil {
		log.Error("stopped", "error", err)
		return 1
	}
	files, err := sockets.Files()
	if err != nil {
		log.Error("stopped", "error", err)
		return 1
	}
	_ = sockets.Close() // the files are the same sockets
	program, err := os.Executable()
	if err != nil {
		log.Error("stopped", "error", err)
		return 1
	}
	if err = residency.Release(); err != nil {
		log.Warn("memory not given back", "error", err)
	}
	return keeper.Keep(ctx, program, append(os.Args[1:], "--sockets="+strconv.Itoa(len(files))), files, log)
}
