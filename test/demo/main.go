package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	outliveReaders()
	temporary := os.Getenv(guardedVariable)
	if temporary == "" {
		os.Exit(guard())
	}
	ctx, _ := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	screen := newScreen(os.Stdout)
	context.AfterFunc(ctx, func() { screen.note("Stopping.") })
	code := run(ctx, screen)
	if err := os.RemoveAll(temporary); err != nil { // the guard's business, unless it was killed
		screen.trouble(err)
	}
	if ctx.Err() != nil {
		screen.note("Nothing is left running.")
	}
	os.Exit(code)
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
