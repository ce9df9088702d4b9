// Package conformance holds a worker to the contract of OrchestratorService. It
// knows nothing but the contract and an address, so that any implementation can
// be tested with it.
//
// Without ADDR in the environment it builds and starts the project's own
// orchestrator, with the scripted Codex (fakecodex) in the place of Codex. With
// ADDR=host:port it tests the worker that listens there, which
//   - runs fakecodex as its Codex (each request chooses the scenario through
//     RunTurnRequest.env), in a version range that includes fakecodex's;
//   - allows every sandbox mode;
//   - is not used by anybody else meanwhile, since its slots are counted.
//
// CA_FILE turns TLS on: the file of the authority that signed the worker's certificate.
// CERT_FILE and KEY_FILE are the suite's own, SERVER_NAME is the name in the worker's
// certificate where ADDR is another, and TOKEN_FILE's first line is the bearer token.
//
// SHARED_DIR names a directory that worker and suite both see at the same path.
// With it, the files that fakecodex writes are read as well: its log proves that
// a refused request started nothing. For a worker of the suite's own there is
// always one. What only the owner of a process can test (its logs, its files, its
// end and its next start) is tested on the project's own worker alone: the names of
// these tests begin with TestOwnWorker, those of tests that need SHARED_DIR with
// TestSharedDir, and a run that cannot hold them leaves them out (go test -v says which).
package conformance
