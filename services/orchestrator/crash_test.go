package orchestrator_test

const workerVariable = "ORCHESTRATOR_TEST_WORKER"

func workerMain() int { return 0 }
