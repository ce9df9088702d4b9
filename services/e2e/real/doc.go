// Package real holds the suite that runs on real input: the native Codex CLI, installed from npm at a pinned version, beneath
// the built programs, with a scripted provider in the place of the model; and the gateway against a Bot API server that was
// not written for it. It shows what no stand-in can: that Codex takes the arguments it is given, says what the decoder
// expects, remembers what it was told, and leaves no process behind.
//
// The tests have the build tag real, since they need npm and, the first time, the network:
//
//	go test -tags real -timeout 15m ./e2e/real
//
// Where npm is missing they skip and say so; with CI=true that is a failure. TestCorpus compares what Codex prints with the
// corpus that the decoder's own tests run from; with -record it writes the corpus anew.
package real
