package protocol

import (
	"encoding/json"
	"testing"
)

// Whatever a program prints is judged without a fault, and only a report that
// is one JSON object can pass.
func FuzzJudge(f *testing.F) {
	cycles := Cycles()
	f.Add([]byte(`{"error_details":[null,{"code":null}],"telemetry":[],"errors":""}`), uint8(1))
	f.Add([]byte(`{} {}`), uint8(0))
	f.Add([]byte(`null`), uint8(2))
	f.Fuzz(func(t *testing.T, stdout []byte, kind uint8) {
		c := cycles[int(kind)%len(cycles)]
		o := Observation{Ran: true, Exit: c.Exit, Stdout: stdout}
		result := ResultOfChecks(c.Judge(o))
		c.KeySignals(o)
		if result == Untested && !c.idle(o, o.Report()) || result == Pass && !json.Valid(stdout) {
			t.Errorf("%q is %s", stdout, result)
		}
	})
}
