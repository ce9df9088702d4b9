package chaos

import "testing"

func TestTheLawIsReadFromAScrape(t *testing.T) {
	const whole = `# TYPE telecodex_gateway_updates_accepted_total counter
telecodex_gateway_updates_accepted_total 1.000004e+06
telecodex_gateway_updates{state="answered"} 1e+06
telecodex_gateway_updates{state="dropped"} 1
telecodex_gateway_updates{state="interrupted"} 0
telecodex_gateway_updates{state="pending"} 2
telecodex_gateway_updates_received_total{outcome="queued"} 9
`
	if accepted, became, ok := lawful(whole); !ok || accepted != 1000004 || became != 1000003 {
		t.Errorf("%d, %d, %v", accepted, became, ok)
	}
	if _, _, ok := lawful("telecodex_gateway_lease_held 0\n"); ok {
		t.Error("a gateway that stands by is taken to speak of it")
	}
}
