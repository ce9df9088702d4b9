package check

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// kinds are the types of the objects that are used.
var kinds = map[string]func() any{
	"v1 ConfigMap":                           func() any { return &corev1.ConfigMap{} },
	"v1 Service":                             func() any { return &corev1.Service{} },
	"v1 ServiceAccount":                      func() any { return &corev1.ServiceAccount{} },
	"apps/v1 Deployment":                     func() any { return &appsv1.Deployment{} },
	"apps/v1 StatefulSet":                    func() any { return &appsv1.StatefulSet{} },
	"autoscaling/v2 HorizontalPodAutoscaler": func() any { return &autoscalingv2.HorizontalPodAutoscaler{} },
	"networking.k8s.io/v1 NetworkPolicy":     func() any { return &networkingv1.NetworkPolicy{} },
	"policy/v1 PodDisruptionBudget":          func() any { return &policyv1.PodDisruptionBudget{} },
}

// render renders a kustomization into typed objects, by kind and name.
func render(t *testing.T, dir string) map[string]any {
	t.Helper()
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), dir)
	if err != nil {
		t.Fatal(err)
	}
	objects := map[string]any{}
	for _, resource := range resources.Resources() {
		kind := resource.GetApiVersion() + " " + resource.GetKind()
		text, err := resource.AsYAML()
		if err != nil {
			t.Fatal(err)
		}
		make, known := kinds[kind]
		if !known {
			t.Errorf("%s %s: no type is known for it", kind, resource.GetName())
			continue
		}
		object := make()
		if err := yaml.UnmarshalStrict(text, object); err != nil {
			t.Errorf("%s %s: %v", kind, resource.GetName(), err)
		}
		if resource.GetNamespace() != "telecodex" {
			t.Errorf("%s %s is in the namespace %q", kind, resource.GetName(), resource.GetNamespace())
		}
		objects[resource.GetKind()+" "+strings.Split(resource.GetName(), "-")[0]] = object
	}
	return objects
}

func TestEveryObjectIsWhatItsAPIKnows(t *testing.T) {
	want := []string{"ConfigMap gateway", "ConfigMap orchestrator", "Deployment gateway", "NetworkPolicy gateway", "NetworkPolicy orchestrator",
		"PodDisruptionBudget gateway", "PodDisruptionBudget orchestrator", "Service gateway", "Service orchestrator",
		"ServiceAccount gateway", "ServiceAccount orchestrator", "StatefulSet orchestrator"}
	if got := slices.Sorted(maps.Keys(render(t, filepath.Join("..", "base")))); !slices.Equal(got, want) {
		t.Errorf("rendered %q", got)
	}
	scaled := render(t, filepath.Join("..", "autoscaling"))
	scaler, ok := scaled["HorizontalPodAutoscaler orchestrator"].(*autoscalingv2.HorizontalPodAutoscaler)
	if !ok || len(scaled) != len(want)+1 {
		t.Fatalf("rendered %q", slices.Sorted(maps.Keys(scaled)))
	}
	if target := scaler.Spec.ScaleTargetRef; target.Kind != "StatefulSet" || target.Name != "orchestrator" {
		t.Errorf("it scales %v", target)
	}
}

// What is misspelt, or of another type, is not taken for what an API knows.
func TestAnUnknownFieldIsRefused(t *testing.T) {
	for _, text := range []string{"spec: {replica: 2}", "spec: {replicas: two}", "spec: {template: {spec: {containers: [{imagePullPolice: Always}]}}}"} {
		if err := yaml.UnmarshalStrict([]byte(text), &appsv1.Deployment{}); err == nil {
			t.Errorf("%s is taken", text)
		}
	}
}

// What is mounted is a volume of the pod, or of its own disk.
func TestMountsNameVolumes(t *testing.T) {
	set := render(t, filepath.Join("..", "base"))["StatefulSet orchestrator"].(*appsv1.StatefulSet)
	for name, pod := range pods(t) {
		volumes := map[string]bool{}
		for _, volume := range pod.Spec.Volumes {
			volumes[volume.Name] = true
		}
		if name == "orchestrator" {
			for _, claim := range set.Spec.VolumeClaimTemplates {
				volumes[claim.Name] = true
			}
		}
		for _, mount := range pod.Spec.Containers[0].VolumeMounts {
			if !volumes[mount.Name] {
				t.Errorf("%s: at %s the volume %q is mounted, and there is none", name, mount.MountPath, mount.Name)
			}
		}
	}
}

// pods are the pods of the two services.
func pods(t *testing.T) map[string]corev1.PodTemplateSpec {
	t.Helper()
	objects := render(t, filepath.Join("..", "base"))
	deployment, one := objects["Deployment gateway"].(*appsv1.Deployment)
	set, other := objects["StatefulSet orchestrator"].(*appsv1.StatefulSet)
	if !one || !other {
		t.Fatal("a workload is missing")
	}
	if *deployment.Spec.Replicas != 2 || len(set.Spec.VolumeClaimTemplates) != 1 || set.Spec.ServiceName != "orchestrator" {
		t.Errorf("%d gateways, claims %v, service %q", *deployment.Spec.Replicas, set.Spec.VolumeClaimTemplates, set.Spec.ServiceName)
	}
	return map[string]corev1.PodTemplateSpec{"gateway": deployment.Spec.Template, "orchestrator": set.Spec.Template}
}

// What every pod is held to: no root, nothing written but its volumes, no token of
// the cluster, probes, resources, and no secret in its environment.
func TestPodsAreHeldShort(t *testing.T) {
	users := map[int64]string{}
	for name, pod := range pods(t) {
		spec := pod.Spec
		if len(spec.Containers) != 1 {
			t.Fatalf("%s: %d containers", name, len(spec.Containers))
		}
		c, security := spec.Containers[0], spec.Containers[0].SecurityContext
		users[*spec.SecurityContext.RunAsUser] = name
		switch {
		case !*spec.SecurityContext.RunAsNonRoot, *spec.AutomountServiceAccountToken, !*security.ReadOnlyRootFilesystem,
			*security.AllowPrivilegeEscalation, !slices.Equal(security.Capabilities.Drop, []corev1.Capability{"ALL"}):
			t.Errorf("%s: %+v", name, security)
		case c.ReadinessProbe == nil || c.LivenessProbe == nil || c.StartupProbe == nil:
			t.Errorf("%s: a probe is missing", name)
		case c.Resources.Requests.Memory().IsZero() || c.Resources.Limits.Memory().IsZero():
			t.Errorf("%s: resources are missing", name)
		case pod.Annotations["prometheus.io/scheme"] != "https": // with a certificate the metrics have it, too
			t.Errorf("%s: its metrics are to be read as %v", name, pod.Annotations)
		}
		for _, variable := range c.Env {
			if variable.ValueFrom != nil {
				t.Errorf("%s: %s comes from elsewhere; secrets are files", name, variable.Name)
			}
		}
		mounted(t, name, c)
		if scheme := c.LivenessProbe.HTTPGet.Scheme; scheme != corev1.URISchemeHTTPS { // its port has a certificate
			t.Errorf("%s: it is asked whether it lives in %s", name, scheme)
		}
	}
	if len(users) != 2 {
		t.Errorf("both run as one user: %v", users)
	}
}

// mounted holds every path in the environment against what is mounted, and that a
// setting does not let go of the certificates.
func mounted(t *testing.T, name string, c corev1.Container) {
	t.Helper()
	for _, variable := range c.Env {
		if strings.HasSuffix(variable.Name, "_INSECURE") {
			t.Errorf("%s: %s is %s", name, variable.Name, variable.Value)
		}
		_, path, given := strings.Cut(variable.Value, "/run/secrets/")
		if !given {
			continue
		}
		dir := "/run/secrets/" + strings.Split(path, "/")[0]
		if !slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return m.MountPath == dir && m.ReadOnly }) {
			t.Errorf("%s: %s is %q, and nothing is mounted at %s", name, variable.Name, variable.Value, dir)
		}
	}
}

// Every variable is a setting of the program: a misspelt one would have no effect.
func TestVariablesAreSettings(t *testing.T) {
	runbook, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "RUNBOOK.md"))
	if err != nil {
		t.Fatal(err)
	}
	objects := render(t, filepath.Join("..", "base"))
	for name, pod := range pods(t) {
		var names []string
		for _, variable := range pod.Spec.Containers[0].Env {
			names = append(names, variable.Name)
		}
		config, ok := objects["ConfigMap "+name].(*corev1.ConfigMap)
		if !ok {
			t.Fatalf("%s has no settings", name)
		}
		for _, variable := range append(names, slices.Sorted(maps.Keys(config.Data))...) {
			if variable != "PGPASSFILE" && !strings.Contains(string(runbook), fmt.Sprintf("| `%s` |", variable)) {
				t.Errorf("%s: %s is no setting", name, variable)
			}
		}
	}
}

// The policies, services and budgets select the pods that there are.
func TestSelectorsMeetPods(t *testing.T) {
	objects, templates := render(t, filepath.Join("..", "base")), pods(t)
	for name, pod := range templates {
		service := objects["Service "+name].(*corev1.Service)
		policy := objects["NetworkPolicy "+name].(*networkingv1.NetworkPolicy)
		budget := objects["PodDisruptionBudget "+name].(*policyv1.PodDisruptionBudget)
		for what, selector := range map[string]map[string]string{"service": service.Spec.Selector, "policy": policy.Spec.PodSelector.MatchLabels, "budget": budget.Spec.Selector.MatchLabels} {
			for label, value := range selector {
				if pod.Labels[label] != value {
					t.Errorf("the %s of the %s selects %s=%s; its pods have %v", what, name, label, value, pod.Labels)
				}
			}
		}
		for _, rule := range policy.Spec.Ingress {
			for _, port := range rule.Ports {
				if !slices.ContainsFunc(pod.Spec.Containers[0].Ports, func(p corev1.ContainerPort) bool { return p.Name == port.Port.StrVal }) {
					t.Errorf("%s: no container port for %v of the policy", name, port.Port)
				}
			}
		}
		for _, port := range service.Spec.Ports {
			if !slices.ContainsFunc(pod.Spec.Containers[0].Ports, func(p corev1.ContainerPort) bool {
				return p.Name == port.TargetPort.StrVal && p.ContainerPort == port.Port
			}) {
				t.Errorf("%s: no container port for %v", name, port)
			}
		}
	}
	if workers := objects["Service orchestrator"].(*corev1.Service); workers.Spec.ClusterIP != corev1.ClusterIPNone {
		t.Error("the gateway has to reach each worker by itself")
	}
}
