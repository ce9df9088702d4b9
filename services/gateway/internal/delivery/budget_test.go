package delivery

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// begin is the start of virtual time.
var begin = time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)

// sendAll asks for n essential calls one after the other, as a sender does, and
// returns when each goes, in milliseconds after begin.
func sendAll(b *Budget, now time.Time, chatID int64, group bool, n int) []int64 {
	var at []int64
	for len(at) < n {
		wait, granted := b.Reserve(now, chatID, group, Essential)
		now = now.Add(wait)
		if granted {
			at = append(at, now.Sub(begin).Milliseconds())
		}
	}
	return at
}

func TestAChatHasABurstAndThenOneCallASecond(t *testing.T) {
	t.Parallel()
	b := NewBudget(1000)
	if got := sendAll(b, begin, 1, false, 6); !slices.Equal(got, []int64{0, 0, 0, 1000, 2000, 3000}) {
		t.Errorf("%v", got)
	}
	if got := sendAll(b, begin.Add(4500*time.Millisecond), 1, false, 3); !slices.Equal(got, []int64{4500, 5000, 6000}) {
		t.Errorf("after a pause: %v", got)
	}
	if got := sendAll(b, begin.Add(time.Hour), 1, false, 4); !slices.Equal(got, []int64{3600_000, 3600_000, 3600_000, 3601_000}) {
		t.Errorf("after an hour: %v", got)
	}
	if got := sendAll(b, begin.Add(time.Hour+time.Second), 2, false, 1); got[0] != 3601_000 {
		t.Errorf("another chat waits: %v", got)
	}
}

func TestAGroupHasTwentyCallsAMinute(t *testing.T) {
	t.Parallel()
	got := sendAll(NewBudget(1000), begin, -1, true, 45)
	for i := range got {
		if i >= 20 && got[i]-got[i-20] < 60_000 {
			t.Errorf("call %d comes %d ms after the twentieth before it", i, got[i]-got[i-20])
		}
	}
	if got[19] != 17_000 || got[20] != 60_000 {
		t.Errorf("the twentieth at %d, the next at %d", got[19], got[20])
	}
}

func TestAllChatsTogetherKeepTheRate(t *testing.T) {
	t.Parallel()
	b := NewBudget(25)
	var at []int64
	for chat := range int64(100) {
		at = append(at, sendAll(b, begin, chat, false, 1)...)
	}
	if !slices.IsSorted(at) {
		t.Error("a chat is overtaken by one that asked later")
	}
	for i := range at {
		if i >= 30 && at[i]-at[i-30] < 1000 {
			t.Errorf("31 calls within %d ms", at[i]-at[i-30])
		}
	}
	if last := at[99]; last > 3900 {
		t.Errorf("100 calls take %d ms", last)
	}
}

func TestAChatThatWaitsHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	b := NewBudget(5)
	sendAll(b, begin, 1, false, 4)
	b.Hold(2, begin.Add(time.Hour))
	b.Reserve(begin, 1, false, Essential)
	b.Reserve(begin, 2, false, Essential)
	now := begin.Add(4 * time.Second)
	if got := sendAll(b, now, 3, false, 1); got[0] != 4000 {
		t.Errorf("another chat waits until %v", got)
	}
}

func TestRetryAfterIsObeyed(t *testing.T) {
	t.Parallel()
	for _, rate := range []float64{0, 25} {
		b := NewBudget(rate)
		b.Hold(1, begin.Add(90*time.Second))
		b.Hold(1, begin.Add(30*time.Second))
		if wait, granted := b.Reserve(begin, 1, false, Essential); granted || wait != 90*time.Second {
			t.Errorf("rate %v: %v, %v", rate, wait, granted)
		}
		if _, granted := b.Reserve(begin, 1, false, Cosmetic); granted {
			t.Errorf("rate %v: typing in a chat that is held", rate)
		}
		if got := sendAll(b, begin, 2, false, 1); got[0] != 0 {
			t.Errorf("rate %v: another chat waits", rate)
		}
		if got := sendAll(b, begin, 1, false, 1); got[0] != 90_000 {
			t.Errorf("rate %v: %v", rate, got)
		}
	}
}

func TestRateZeroPacesNothing(t *testing.T) {
	t.Parallel()
	b := NewBudget(0)
	for range 10_000 {
		if wait, granted := b.Reserve(begin, -1, true, Essential); wait != 0 || !granted {
			t.Fatal("paced")
		}
	}
	if _, granted := b.Reserve(begin, -1, true, Cosmetic); !granted {
		t.Error("typing is paced")
	}
}

func TestCosmeticCallsNeedRoomToSpare(t *testing.T) {
	t.Parallel()
	cosmetic := func(b *Budget, after time.Duration, chatID int64, group bool) bool {
		_, granted := b.Reserve(begin.Add(after), chatID, group, Cosmetic)
		return granted
	}
	t.Run("the chat's whole burst", func(t *testing.T) {
		b := NewBudget(25)
		if !cosmetic(b, 0, 1, false) || cosmetic(b, 999*time.Millisecond, 1, false) || !cosmetic(b, time.Second, 1, false) {
			t.Error("typing does not keep to one a second")
		}
	})
	t.Run("half of a group's minute", func(t *testing.T) {
		b, n := NewBudget(25), 0
		for second := range time.Duration(60) {
			if cosmetic(b, second*time.Second, -1, true) {
				n++
			}
		}
		if n != groupCount/2 {
			t.Errorf("typed %d times in a minute", n)
		}
		if !cosmetic(b, 61*time.Second, -1, true) {
			t.Error("never again")
		}
	})
	t.Run("half of the overall burst", func(t *testing.T) {
		b, n := NewBudget(25), 0
		for chat := range int64(100) {
			if cosmetic(b, 0, chat, false) {
				n++
			}
		}
		if n != 3 {
			t.Errorf("typed in %d chats at once", n)
		}
		if got := sendAll(b, begin, 1000, false, 2); got[0] != 0 || got[1] != 0 {
			t.Errorf("answers wait behind typing: %v", got)
		}
	})
	t.Run("however slow the rate", func(t *testing.T) {
		b := NewBudget(0.1)
		if !cosmetic(b, 0, 1, false) || cosmetic(b, 5*time.Second, 2, false) || !cosmetic(b, 10*time.Second, 2, false) {
			t.Error("typing does not keep to the rate")
		}
	})
}

// Two messages to a chat that is otherwise silent never wait, however much is
// typed, and a chat's messages wait no longer than their own pace demands.
func TestAnswersDoNotWaitBehindTyping(t *testing.T) {
	t.Parallel()
	for _, group := range []bool{false, true} {
		b := NewBudget(25)
		for tenth := range time.Duration(600) {
			b.Reserve(begin.Add(tenth*100*time.Millisecond), -1, group, Cosmetic)
		}
		if got := sendAll(b, begin.Add(time.Minute), -1, group, 2); got[0] != 60_000 || got[1] != 60_000 {
			t.Errorf("group %v: %v", group, got)
		}
	}
}

func TestNoMixOfCallsExceedsTheLimits(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 1))
		b, now := NewBudget(10), begin
		var all []time.Time
		chats := map[int64][]time.Time{}
		for range 3000 {
			now = now.Add(time.Duration(random.IntN(100)) * time.Millisecond)
			chatID := int64(random.IntN(8)) - 4
			class := Class(random.IntN(2))
			if wait, granted := b.Reserve(now, chatID, chatID < 0, class); granted {
				if class == Cosmetic && wait != 0 {
					t.Fatal("a cosmetic call is to wait")
				}
				all = append(all, now.Add(wait))
				chats[chatID] = append(chats[chatID], now.Add(wait))
			}
		}
		atMost(t, all, 12, time.Second)
		for id, calls := range chats {
			atMost(t, calls, 4, time.Second)
			if id < 0 {
				atMost(t, calls, groupCount, groupWindow)
			}
		}
	}
}

// atMost fails when more than n of the times lie within a window.
func atMost(t *testing.T, times []time.Time, n int, window time.Duration) {
	t.Helper()
	slices.SortFunc(times, time.Time.Compare)
	for i := n; i < len(times); i++ {
		if d := times[i].Sub(times[i-n]); d < window {
			t.Errorf("%d calls within %v", n+1, d)
		}
	}
}

func TestWaitAndTry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, start := NewBudget(25), time.Now()
		if !b.Try(1, false) || b.Try(1, false) {
			t.Error("typing is not counted")
		}
		for range 4 {
			if err := b.Wait(t.Context(), 1, false); err != nil {
				t.Error(err)
			}
		}
		if took := time.Since(start); took != 2*time.Second {
			t.Errorf("four messages took %v", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if b.Wait(ctx, 1, false) == nil {
			t.Error("the wait outlasts its context")
		}
	})
	synctest.Test(t, func(t *testing.T) {
		b, start := NewBudget(25), time.Now()
		var wg sync.WaitGroup
		for chat := range int64(1000) {
			wg.Go(func() {
				if err := b.Wait(t.Context(), chat, false); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if took := time.Since(start); took < 39*time.Second || took > 40*time.Second {
			t.Errorf("1000 chats at 25 a second took %v", took)
		}
	})
}

func TestIdleChatsAreForgotten(t *testing.T) {
	t.Parallel()
	b := NewBudget(1e6)
	b.Hold(-1, begin.Add(100*time.Hour))
	for chat := range int64(50_000) {
		b.Reserve(begin.Add(time.Duration(chat)*time.Second), chat, chat%2 == 0, Essential)
	}
	if n := len(b.chats); n > 2*minSweep {
		t.Errorf("%d chats are kept", n)
	}
	if wait, _ := b.Reserve(begin.Add(99*time.Hour), -1, true, Essential); wait != time.Hour {
		t.Errorf("the hold is forgotten: %v", wait)
	}
}
