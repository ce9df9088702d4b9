package proctree

// Program is the path of what s starts shims from.
func Program(s *Supervisor) string { return s.platform.program.Name() }
