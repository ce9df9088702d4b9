package codex

import (
	"strings"

	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
)

// marks are words, in lower case, by which a failure is known. The first that is
// found decides, so the more specific stand first: a provider's rate limit also
// mentions retries and disconnected streams, and every failure of the network ends
// up as a disconnected stream.
var marks = [...]struct {
	text  string
	class orchestratorv1.FailureClass
}{
	{"already has an active writer", orchestratorv1.FailureClass_FAILURE_CLASS_THREAD_IN_USE},

	{"context window", orchestratorv1.FailureClass_FAILURE_CLASS_CONTEXT_LENGTH},
	{"context_length_exceeded", orchestratorv1.FailureClass_FAILURE_CLASS_CONTEXT_LENGTH},

	{"usage limit", orchestratorv1.FailureClass_FAILURE_CLASS_USAGE_LIMIT},
	{"usage_limit", orchestratorv1.FailureClass_FAILURE_CLASS_USAGE_LIMIT},
	{"quota", orchestratorv1.FailureClass_FAILURE_CLASS_USAGE_LIMIT},
	{"out of credits", orchestratorv1.FailureClass_FAILURE_CLASS_USAGE_LIMIT},
	{"workspace is out of", orchestratorv1.FailureClass_FAILURE_CLASS_USAGE_LIMIT},

	{"error loading config", orchestratorv1.FailureClass_FAILURE_CLASS_CONFIGURATION},
	{"missing environment variable", orchestratorv1.FailureClass_FAILURE_CLASS_CONFIGURATION},
	{"model provider `", orchestratorv1.FailureClass_FAILURE_CLASS_CONFIGURATION},
	{"error: unexpected argument", orchestratorv1.FailureClass_FAILURE_CLASS_CONFIGURATION},
	{"error: invalid value", orchestratorv1.FailureClass_FAILURE_CLASS_CONFIGURATION},

	{"model_not_found", orchestratorv1.FailureClass_FAILURE_CLASS_MODEL},
	{"model not found", orchestratorv1.FailureClass_FAILURE_CLASS_MODEL},
	{"does not exist or you do not have access", orchestratorv1.FailureClass_FAILURE_CLASS_MODEL},
	{"model is not supported", orchestratorv1.FailureClass_FAILURE_CLASS_MODEL},
	{"requires a newer version of codex", orchestratorv1.FailureClass_FAILURE_CLASS_MODEL},

	{"401 unauthorized", orchestratorv1.FailureClass_FAILURE_CLASS_AUTHENTICATION},
	{"403 forbidden", orchestratorv1.FailureClass_FAILURE_CLASS_AUTHENTICATION},
	{"invalid_api_key", orchestratorv1.FailureClass_FAILURE_CLASS_AUTHENTICATION},
	{"api key", orchestratorv1.FailureClass_FAILURE_CLASS_AUTHENTICATION},
	{"not logged in", orchestratorv1.FailureClass_FAILURE_CLASS_AUTHENTICATION},
	{"codex login", orchestratorv1.FailureClass_FAILURE_CLASS_AUTHENTICATION},
	{"log in again", orchestratorv1.FailureClass_FAILURE_CLASS_AUTHENTICATION},
	{"sign in again", orchestratorv1.FailureClass_FAILURE_CLASS_AUTHENTICATION},
	{"access token", orchestratorv1.FailureClass_FAILURE_CLASS_AUTHENTICATION},

	{"429 too many requests", orchestratorv1.FailureClass_FAILURE_CLASS_RATE_LIMIT},
	{"rate limit", orchestratorv1.FailureClass_FAILURE_CLASS_RATE_LIMIT},
	{"rate_limit", orchestratorv1.FailureClass_FAILURE_CLASS_RATE_LIMIT},

	{"bwrap:", orchestratorv1.FailureClass_FAILURE_CLASS_SANDBOX},
	{"bubblewrap", orchestratorv1.FailureClass_FAILURE_CLASS_SANDBOX},
	{"landlock", orchestratorv1.FailureClass_FAILURE_CLASS_SANDBOX},
	{"sandbox-exec", orchestratorv1.FailureClass_FAILURE_CLASS_SANDBOX},

	{"waiting for network", orchestratorv1.FailureClass_FAILURE_CLASS_NETWORK},
	{"connection failed", orchestratorv1.FailureClass_FAILURE_CLASS_NETWORK},
	{"connection refused", orchestratorv1.FailureClass_FAILURE_CLASS_NETWORK},
	{"connection reset", orchestratorv1.FailureClass_FAILURE_CLASS_NETWORK},
	{"failed to lookup address", orchestratorv1.FailureClass_FAILURE_CLASS_NETWORK},
	{"dns error", orchestratorv1.FailureClass_FAILURE_CLASS_NETWORK},
	{"network is unreachable", orchestratorv1.FailureClass_FAILURE_CLASS_NETWORK},
	{"error sending request", orchestratorv1.FailureClass_FAILURE_CLASS_NETWORK},

	{"high demand", orchestratorv1.FailureClass_FAILURE_CLASS_PROVIDER},
	{"overloaded", orchestratorv1.FailureClass_FAILURE_CLASS_PROVIDER},
	{"at capacity", orchestratorv1.FailureClass_FAILURE_CLASS_PROVIDER},
	{"500 internal server error", orchestratorv1.FailureClass_FAILURE_CLASS_PROVIDER},
	{"502 bad gateway", orchestratorv1.FailureClass_FAILURE_CLASS_PROVIDER},
	{"503 service unavailable", orchestratorv1.FailureClass_FAILURE_CLASS_PROVIDER},
	{"504 gateway timeout", orchestratorv1.FailureClass_FAILURE_CLASS_PROVIDER},
	{"stream disconnected", orchestratorv1.FailureClass_FAILURE_CLASS_PROVIDER},
	{"unexpected status", orchestratorv1.FailureClass_FAILURE_CLASS_PROVIDER},
}

// Classify says what a failure looks like from Codex's words: the message of an
// error or turn.failed event, or the end of stderr.
func Classify(text string) orchestratorv1.FailureClass {
	text = strings.ToLower(text)
	for _, mark := range marks {
		if strings.Contains(text, mark.text) {
			return mark.class
		}
	}
	return orchestratorv1.FailureClass_FAILURE_CLASS_UNSPECIFIED
}
