// Package check renders the manifests as kustomize does and holds every object
// against the types of its API, strictly: an unknown or misspelt field fails.
package check
