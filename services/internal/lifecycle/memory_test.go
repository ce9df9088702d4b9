package lifecycle

import (
	"context"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

func TestTrimReturnsMemoryOfAnIdleProgram(t *testing.T) {
	const size = 64 << 20
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- Trim(ctx) }()
		synctest.Wait()
		huge := make([]byte, size)
		for i := range huge {
			huge[i] = 1
		}
		runtime.KeepAlive(huge)
		_, before := heap()
		// The first look finds that the program was busy, the second that it rests.
		time.Sleep(2*trimEvery + time.Second)
		synctest.Wait()
		if _, after := heap(); after+size/2 > before {
			t.Errorf("the heap holds %d of %d bytes", after, before)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
