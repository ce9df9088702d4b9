//go:build unix

package proctree_test

import (
	"io"
	"testing"

	"telecodex.dev/services/orchestrator/internal/proctree"
)

func TestNoDescendantSurvives(t *testing.T) {
	inEachMode(t, func(t *testing.T, s *proctree.Supervisor) {
		t.Run("the child's own end", func(t *testing.T) {
			w := newWitness(t)
			spec := part("parent", w.address(), "exit")
			p := start(t, s, spec)
			ready(t, p)
			w.alive(t)
			if err := p.Interrupt(); err != nil {
				t.Fatal(err)
			}
			// The descendant holds standard output too: that it ends proves that the descendant is gone.
			if _, err := io.ReadAll(p.Stdout()); err != nil {
				t.Fatal(err)
			}
			if exit := p.Wait(); exit.Code != 5 {
				t.Errorf("got %+v", exit)
			}
			w.dead(t)
		})
		t.Run("an interrupt", func(t *testing.T) {
			w := newWitness(t)
			p := start(t, s, part("parent", w.address(), "block"))
			ready(t, p)
			w.alive(t)
			if err := p.Interrupt(); err != nil {
				t.Fatal(err)
			}
			if exit := p.Wait(); !interrupted(s, exit) {
				t.Errorf("got %+v", exit)
			}
			w.dead(t)
		})
		t.Run("a kill", func(t *testing.T) {
			w := newWitness(t)
			p := start(t, s, part("parent", w.address(), "block"))
			ready(t, p)
			w.alive(t)
			if err := p.Kill(); err != nil {
				t.Fatal(err)
			}
			if exit := p.Wait(); exit.Signal != "SIGKILL" {
				t.Errorf("got %+v", exit)
			}
			w.dead(t)
		})
		t.Run("Close", func(t *testing.T) {
			w := newWitness(t)
			ready(t, start(t, s, part("parent", w.address(), "block")))
			w.alive(t)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			w.dead(t)
		})
	})
}
