package sqldb

import (
	"context"
	"runtime"
)

// AwaitQueue returns once n writes wait in the group, or ctx ends.
func AwaitQueue(ctx context.Context, g *Group, n int) {
	for ctx.Err() == nil {
		g.mu.Lock()
		waiting := len(g.queue)
		g.mu.Unlock()
		if waiting >= n {
			return
		}
		runtime.Gosched()
	}
}
