package codex

import (
	"bytes"
	"os"
	"testing"

	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
)

func TestFailuresAreClassified(t *testing.T) {
	for text, want := range map[string]orchestratorv1.FailureClass{
		"unexpected status 401 Unauthorized: Incorrect API key provided., url: http://provider.test/v1/responses":                       orchestratorv1.FailureClass_FAILURE_CLASS_AUTHENTICATION,
		"You've hit your usage limit. Upgrade to Pro or try again later.":                                                               orchestratorv1.FailureClass_FAILURE_CLASS_USAGE_LIMIT,
		"Quota exceeded. Check your plan and billing details.":                                                                          orchestratorv1.FailureClass_FAILURE_CLASS_USAGE_LIMIT,
		"exceeded retry limit, last status: 429 Too Many Requests":                                                                      orchestratorv1.FailureClass_FAILURE_CLASS_RATE_LIMIT,
		"Codex ran out of room in the model's context window. Start a new thread or clear earlier history before retrying.":             orchestratorv1.FailureClass_FAILURE_CLASS_CONTEXT_LENGTH,
		"We’re currently experiencing high demand, which may cause temporary errors.":                                                   orchestratorv1.FailureClass_FAILURE_CLASS_PROVIDER,
		"unexpected status 500 Internal Server Error: ":                                                                                 orchestratorv1.FailureClass_FAILURE_CLASS_PROVIDER,
		"stream disconnected before completion: stream closed before response.completed":                                                orchestratorv1.FailureClass_FAILURE_CLASS_PROVIDER,
		"Reconnecting... waiting for network (Connection failed: error sending request)":                                                orchestratorv1.FailureClass_FAILURE_CLASS_NETWORK,
		"stream disconnected before completion: failed to lookup address information: Name does not resolve":                            orchestratorv1.FailureClass_FAILURE_CLASS_NETWORK,
		"Error loading config.toml: invalid type: sequence, expected a string":                                                          orchestratorv1.FailureClass_FAILURE_CLASS_CONFIGURATION,
		"Missing environment variable: `NOPE_KEY`.":                                                                                     orchestratorv1.FailureClass_FAILURE_CLASS_CONFIGURATION,
		"Error: Model provider `nope` not found":                                                                                        orchestratorv1.FailureClass_FAILURE_CLASS_CONFIGURATION,
		"error: invalid value 'untrusted' for '--ask-for-approval <APPROVAL_POLICY>'":                                                   orchestratorv1.FailureClass_FAILURE_CLASS_CONFIGURATION,
		"The model `gpt-0` does not exist or you do not have access to it.":                                                             orchestratorv1.FailureClass_FAILURE_CLASS_MODEL,
		"bwrap: No permissions to create a new namespace":                                                                               orchestratorv1.FailureClass_FAILURE_CLASS_SANDBOX,
		"Error: thread 01a1ffd2-7c2a-7ba3-b974-221e2ce82709 already has an active writer":                                               orchestratorv1.FailureClass_FAILURE_CLASS_THREAD_IN_USE,
		"Error: thread/resume: thread/resume failed: no rollout found for thread id 01a1ffd2-7c2a-7ba3-b974-221e2ce82709 (code -32600)": orchestratorv1.FailureClass_FAILURE_CLASS_UNSPECIFIED,
		"thread 'main' panicked": orchestratorv1.FailureClass_FAILURE_CLASS_UNSPECIFIED,
		"":                       orchestratorv1.FailureClass_FAILURE_CLASS_UNSPECIFIED,
	} {
		if got := Classify(text); got != want {
			t.Errorf("%q is %v, want %v", text, got, want)
		}
	}
}

func TestRecordedFailuresAreClassified(t *testing.T) {
	for corpus, want := range map[string]orchestratorv1.FailureClass{
		"unauthorized":    orchestratorv1.FailureClass_FAILURE_CLASS_AUTHENTICATION,
		"rate_limited":    orchestratorv1.FailureClass_FAILURE_CLASS_RATE_LIMIT,
		"context_length":  orchestratorv1.FailureClass_FAILURE_CLASS_CONTEXT_LENGTH,
		"provider_broken": orchestratorv1.FailureClass_FAILURE_CLASS_PROVIDER,
	} {
		lines, err := os.ReadFile("testdata/real/" + corpus + ".jsonl")
		if err != nil {
			t.Fatal(err)
		}
		events, _ := decodeAll(t, bytes.NewReader(lines))
		last := events[len(events)-1]
		if last.GetTurnFailed() == nil || Classify(last.GetMessage()) != want {
			t.Errorf("%s: %q is %v, want %v", corpus, last.GetMessage(), Classify(last.GetMessage()), want)
		}
	}
}
