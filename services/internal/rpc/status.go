package rpc

import (
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	diagnosticsv1 "telecodex.dev/gen/telecodex/diagnostics/v1"
)

// Domain is the ErrorInfo.domain of every error of Telecodex.
const Domain = "telecodex.dev"

const reasonPrefix = "ERROR_REASON_"

// Failure is an error of a call, on its way to become a gRPC status: a code for
// gRPC, a reason for the gateway, a message for a person. Without a reason nothing
// is said but code and message.
type Failure struct {
	Code       codes.Code
	Reason     diagnosticsv1.ErrorReason
	Message    string
	Field      string        // the request's field at fault; empty: none
	RetryAfter time.Duration // when to try again; 0: not said
}

func (f *Failure) Error() string { return f.Message }

// GRPCStatus renders the failure with its google.rpc details; grpc-go calls it
// when a handler returns the failure.
func (f *Failure) GRPCStatus() *status.Status {
	st := status.New(f.Code, f.Message)
	if f.Reason == diagnosticsv1.ErrorReason_ERROR_REASON_UNSPECIFIED {
		return st // the contract never says that there is none
	}
	info := &errdetails.ErrorInfo{Reason: ReasonName(f.Reason), Domain: Domain}
	if f.Field != "" {
		info.Metadata = map[string]string{"field": f.Field}
	}
	details := []protoadapt.MessageV1{protoadapt.MessageV1Of(info)}
	if f.RetryAfter > 0 {
		details = append(details, protoadapt.MessageV1Of(&errdetails.RetryInfo{RetryDelay: durationpb.New(f.RetryAfter)}))
	}
	detailed, err := st.WithDetails(details...)
	if err != nil { // only for OK, which no failure is
		return st
	}
	return detailed
}

// ReasonName is a reason as it stands in ErrorInfo.reason: without prefix.
func ReasonName(r diagnosticsv1.ErrorReason) string {
	return strings.TrimPrefix(r.String(), reasonPrefix)
}

// ReasonWord is a reason as metrics have it: in lower case, "none" for one that is
// not specified.
func ReasonWord(r diagnosticsv1.ErrorReason) string {
	if r == diagnosticsv1.ErrorReason_ERROR_REASON_UNSPECIFIED {
		return "none"
	}
	return strings.ToLower(ReasonName(r))
}

// ReasonWords are the words of all reasons that are specified.
func ReasonWords() (words []string) {
	for n := range len(diagnosticsv1.ErrorReason_name) - 1 {
		words = append(words, ReasonWord(diagnosticsv1.ErrorReason(n+1)))
	}
	return words
}

// ReasonOf reads the reason of a call's error, ERROR_REASON_UNSPECIFIED when it
// has none that is known: then the outcome of the call is unknown.
func ReasonOf(err error) diagnosticsv1.ErrorReason {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok && info.GetDomain() == Domain {
			return diagnosticsv1.ErrorReason(diagnosticsv1.ErrorReason_value[reasonPrefix+info.GetReason()])
		}
	}
	return diagnosticsv1.ErrorReason_ERROR_REASON_UNSPECIFIED
}

// CodeName is the name of a failure's status code, such as Unavailable.
func CodeName(err error) string { return status.Code(err).String() }

// FieldOf reads which field of the request was at fault; empty: not said.
func FieldOf(err error) string {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok && info.GetDomain() == Domain {
			return info.GetMetadata()["field"]
		}
	}
	return ""
}

// RetryAfter reads when the server asks to be called again; 0: not said.
func RetryAfter(err error) time.Duration {
	for _, detail := range status.Convert(err).Details() {
		if retry, ok := detail.(*errdetails.RetryInfo); ok {
			return retry.GetRetryDelay().AsDuration()
		}
	}
	return 0
}

// ActionOf is what the gateway does about a reason: the option on the reason's
// enum value, GATEWAY_ACTION_UNSPECIFIED (outcome unknown) where it has none.
func ActionOf(r diagnosticsv1.ErrorReason) diagnosticsv1.GatewayAction {
	value := r.Descriptor().Values().ByNumber(r.Number())
	if value == nil || !proto.HasExtension(value.Options(), diagnosticsv1.E_GatewayAction) {
		return diagnosticsv1.GatewayAction_GATEWAY_ACTION_UNSPECIFIED
	}
	action, _ := proto.GetExtension(value.Options(), diagnosticsv1.E_GatewayAction).(diagnosticsv1.GatewayAction)
	return action
}
