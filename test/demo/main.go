package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"

	"github.com/latchkey-dev/latchkey/test/guard"
)

func main() { os.Exit(guard.Main("demo", show)) }

// show runs the demo, and returns its exit code.
func show() int {
	ctx, _ := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP) // until the process ends
	screen := newScreen(os.Stdout)
	context.AfterFunc(ctx, func() { screen.note("Stopping.") })
	code := run(ctx, screen)
	if ctx.Err() != nil {
		screen.note("Nothing is left running.")
	}
	return code
}

// run returns the exit code: 0 when every check passed, 1 when one failed or the demo could not be set up, 130 when it was interrupted.
func run(ctx context.Context, screen *screen) int {
	demo, err := setUp(ctx, screen)
	defer demo.tearDown()
	if err != nil {
		if ctx.Err() != nil {
			return 130
		}
		screen.trouble(err)
		if demo.dir != "" {
			screen.note("What the processes printed is in " + demo.dir + ".")
		}
		return 1
	}
	failed := demo.runChecks(ctx)
	if ctx.Err() != nil {
		return 130
	}
	if os.Getenv("KEEP") != "" {
		demo.keep(ctx)
		return 0
	}
	if failed > 0 {
		screen.note("What the processes printed is in " + demo.dir + ".")
		return 1
	}
	return 0
}

// interrupted replaces the many ways in which a cancelled call fails.
func interrupted(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return errors.New("interrupted")
	}
	return err
}
