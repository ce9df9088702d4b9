package workers

import (
	"strings"

	diagnosticsv1 "telecodex.dev/gen/telecodex/diagnostics/v1"
	"telecodex.dev/services/internal/rpc"
)

// Trouble is why a worker cannot be called, as far as its credentials are to blame,
// and what mends it.
type Trouble struct{ What, Mend string }

// String is empty where there is no trouble.
func (t Trouble) String() string {
	if t == (Trouble{}) {
		return ""
	}
	return t.What + ": " + t.Mend
}

// troubles are told apart by what crypto/tls and gRPC say: what crosses a connection
// is text.
var troubles = [...]struct {
	said string
	Trouble
}{
	{"first record does not look like a TLS handshake", Trouble{
		"it speaks no TLS, and this gateway does",
		"give it a certificate (ORCHESTRATOR_TLS_CERT_FILE), or unset CHANNEL_ORCHESTRATOR_TLS_CA_FILE here"}},
	{"error reading server preface: remote error: tls: certificate required", Trouble{
		"it wants a certificate from this gateway",
		"give one in CHANNEL_ORCHESTRATOR_TLS_CERT_FILE, signed by an authority in its ORCHESTRATOR_TLS_CLIENT_CA_FILE"}},
	{"remote error: tls: expired certificate", Trouble{
		"it refuses this gateway's certificate, which has expired",
		"put a new one into CHANNEL_ORCHESTRATOR_TLS_CERT_FILE: it is read without a restart"}},
	{"remote error: tls: unknown certificate authority", Trouble{
		"it refuses this gateway's certificate, which is of an authority that it does not know",
		"have it signed by an authority in the worker's ORCHESTRATOR_TLS_CLIENT_CA_FILE, or add this one there"}},
	{"remote error: tls: ", Trouble{
		"it refuses this gateway's certificate",
		"its log says why: the certificate must be a client's, and its name among ORCHESTRATOR_TLS_CLIENT_NAMES where those are set"}},
	{"error reading server preface", Trouble{
		"it ends the connection without a word, as one does that wants TLS",
		"if it has a certificate, name who signed that in CHANNEL_ORCHESTRATOR_TLS_CA_FILE"}},
	{"certificate has expired or is not yet valid", Trouble{
		"its certificate has expired, or is not valid yet",
		"put a new one into its ORCHESTRATOR_TLS_CERT_FILE (it is read without a restart), and look at both clocks"}},
	{"certificate signed by unknown authority", Trouble{
		"its certificate is of an authority that this gateway does not know",
		"add that authority to CHANNEL_ORCHESTRATOR_TLS_CA_FILE, or have the worker's certificate signed by one in there"}},
	{"x509: certificate is", nameTrouble},       // valid for X, not Y
	{"because it doesn't contain", nameTrouble}, // any IP SANs
	{"certificate relies on legacy Common Name", nameTrouble},
}

var nameTrouble = Trouble{
	"its certificate is for another name than the one that is dialed",
	"make one with that name or address (subjectAltName), or say in CHANNEL_ORCHESTRATOR_TLS_SERVER_NAME which it holds"}

// TroubleOf reads the error of a call; false: it is not about credentials.
func TroubleOf(err error) (Trouble, bool) {
	if err == nil {
		return Trouble{}, false
	}
	if rpc.ReasonOf(err) == diagnosticsv1.ErrorReason_ERROR_REASON_UNAUTHENTICATED {
		return Trouble{"it does not accept this gateway's token, or wants one",
			"the first token in CHANNEL_ORCHESTRATOR_AUTH_TOKEN_FILE must be one of those in its ORCHESTRATOR_AUTH_TOKEN_FILE"}, true
	}
	text := err.Error()
	for _, t := range troubles {
		if strings.Contains(text, t.said) {
			return t.Trouble, true
		}
	}
	return Trouble{}, false
}
