package store_test

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"weak"

	"github.com/latchkey-dev/latchkey/internal/issuer/store"
)

// Nobody bounds how many come and give up while one go takes its time.
func TestWhoGivesUpIsForgottenWhileTheDatabaseHangs(t *testing.T) {
	type question [1 << 10]byte
	synctest.Test(t, func(t *testing.T) {
		answers := make(chan struct{})
		together := &store.Together[*question, bool]{AtOnce: 1, Go: func(batch []*store.Asked[*question, bool]) {
			<-answers
			for _, each := range batch {
				each.Settle(each.Question == nil, nil)
			}
		}}
		ask := func(ctx context.Context, asked *question) (told chan error) {
			told = make(chan error, 1)
			go func() { _, err := together.Ask(ctx, asked); told <- err }()
			synctest.Wait()
			return told
		}
		begun := ask(t.Context(), nil)
		impatient, hangUp := context.WithCancel(t.Context())
		asked := new(question)
		kept := weak.Make(asked)
		gone := ask(impatient, asked)
		patient := ask(t.Context(), nil)
		hangUp()
		if err := <-gone; !errors.Is(err, context.Canceled) {
			t.Errorf("who hung up: got %v, want %v", err, context.Canceled)
		}
		runtime.GC()
		if kept.Value() != nil {
			t.Error("what they asked for is kept until the database answers")
		}
		close(answers)
		for _, told := range []chan error{begun, patient} {
			if err := <-told; err != nil {
				t.Errorf("who waited: got %v", err)
			}
		}
		together.Wait()
	})
}
