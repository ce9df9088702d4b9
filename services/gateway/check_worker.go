package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"go.uber.org/zap"

	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
	"telecodex.dev/services/gateway/internal/workers"
	"telecodex.dev/services/internal/checkup"
	"telecodex.dev/services/internal/rpc"
)

// needed are the capabilities without which a worker is of no use to a gateway.
func needed() []string { return []string{"agent_api.events", "agent_api.run"} }

// CanWork says why none of the configured workers can run a turn; nil: one can,
// or none is named. The error is for an operator.
func CanWork(ctx context.Context, c Config) error {
	var checks []*checkup.Check
	for _, target := range c.OrchestratorAddrs {
		checks = append(checks, checkup.Start(ctx, "worker "+target, workerLimit, func(ctx context.Context) []checkup.Finding { return c.checkWorker(ctx, target) }))
	}
	var faults []error
	for _, check := range checks {
		for _, f := range check.Wait(ctx) {
			if f.Verdict == checkup.Fail {
				faults = append(faults, fmt.Errorf("%s: %s: %s", f.Name, f.Detail, f.Mend))
				break
			}
		}
	}
	if len(faults) < len(checks) {
		return nil
	}
	return errors.Join(faults...)
}

// checkWorker asks a worker what it can do.
func (c Config) checkWorker(ctx context.Context, target string) []checkup.Finding {
	name := "worker " + target
	dial, err := c.dial(zap.NewNop())
	if err != nil {
		return []checkup.Finding{checkup.Broken(name, err.Error(), "mend the file, or name another")}
	}
	if address, isName := strings.CutPrefix(target, "dns:///"); isName {
		dial.ServerName, _, _ = net.SplitHostPort(address) // as the directory does
	}
	conn, err := rpc.Dial(target, dial)
	if err != nil {
		return []checkup.Finding{checkup.Broken(name, err.Error(), "look at CHANNEL_ORCHESTRATOR_ADDR")}
	}
	defer conn.Close() // nothing is lost with it
	client := orchestratorv1.NewOrchestratorServiceClient(conn)
	can, err := client.GetCapabilities(ctx, &orchestratorv1.GetCapabilitiesRequest{})
	if trouble, known := workers.TroubleOf(err); known {
		return []checkup.Finding{checkup.Broken(name, trouble.What, trouble.Mend)}
	}
	if err != nil {
		return []checkup.Finding{checkup.Broken(name, fmt.Sprintf("it cannot be asked (%s)", rpc.CodeName(err)), "start it (orchestrator), or look at CHANNEL_ORCHESTRATOR_ADDR and at its log")}
	}
	return append([]checkup.Finding{c.checkSlots(ctx, client, name, can)},
		checkWorkersCodex(target, can), checkup.Containment("containment of "+target, can.GetContainment()), c.checkAsked(target, can.GetAllowedSandboxModes()))
}

// checkSlots says whether the worker takes turns.
func (c Config) checkSlots(ctx context.Context, client orchestratorv1.OrchestratorServiceClient, name string, can *orchestratorv1.GetCapabilitiesResponse) checkup.Finding {
	for _, capability := range needed() {
		if !slices.Contains(can.GetCapabilities(), capability) {
			return checkup.Broken(name, "it lacks the capability "+capability, "use an orchestrator of this release")
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var state *orchestratorv1.WatchWorkerResponse
	stream, err := client.WatchWorker(ctx, &orchestratorv1.WatchWorkerRequest{})
	if err == nil {
		state, err = stream.Recv()
	}
	switch {
	case err != nil:
		return checkup.Broken(name, fmt.Sprintf("it does not tell its state (%s)", rpc.CodeName(err)), "look at its log")
	case state.GetDraining():
		return checkup.Doubtful(name, "it is being stopped and takes no new turns", "start it again")
	}
	return checkup.Well(name, "it answers: %d of %d slots are taken, %d capabilities", state.GetSlotsUsed(), state.GetSlotsTotal(), len(can.GetCapabilities()))
}

func checkWorkersCodex(target string, can *orchestratorv1.GetCapabilitiesResponse) checkup.Finding {
	name := "codex of " + target
	if can.GetCodexVersion() == "" {
		return checkup.Broken(name, "it cannot be run there", "install Codex where the worker runs, or name it in ORCHESTRATOR_CODEX_BIN; `telecodex doctor` there says more")
	}
	return checkup.CodexVersion(name, can.GetCodexVersion(), can.GetTestedCodexVersionMin(), can.GetTestedCodexVersionMax())
}

// checkAsked compares the sandbox that turns ask for with those that are allowed.
func (c Config) checkAsked(target string, allowed []string) checkup.Finding {
	name := "sandbox of " + target
	if c.SandboxMode != "" && !slices.Contains(allowed, c.SandboxMode) {
		return checkup.Broken(name, fmt.Sprintf("every turn asks for %s and is refused; allowed: %s", c.SandboxMode, strings.Join(allowed, ", ")),
			"change CHANNEL_CODEX_SANDBOX_MODE, or the worker's ORCHESTRATOR_ALLOWED_SANDBOXES")
	}
	return checkup.Well(name, "allowed: %s; `telecodex doctor` where the worker runs tries them out", strings.Join(allowed, ", "))
}
