package lifecycle_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"telecodex.dev/services/internal/lifecycle"
)

func TestWhatOutlivesAContextEndsSomeTimeAfterIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, end := context.WithCancel(t.Context())
		longer, cancel := lifecycle.Outlive(ctx, time.Minute)
		defer cancel()
		time.Sleep(time.Hour)
		end()
		time.Sleep(time.Minute - time.Nanosecond)
		if longer.Err() != nil {
			t.Error("it ended too early")
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if longer.Err() == nil {
			t.Error("it goes on")
		}
	})
}
