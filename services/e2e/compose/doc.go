// Package compose runs the stack of containers that deploy/ describes: images are
// built, replicas started, killed and rescaled, and what people see is judged from
// outside. It needs a container engine with Compose (build tag compose).
package compose
