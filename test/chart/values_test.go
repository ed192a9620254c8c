package chart_test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/latchkey-dev/latchkey/test/controlplane"
)

func TestTheChartPassesLint(t *testing.T) {
	if _, err := helm(t, "lint", "--strict", chart); err != nil {
		t.Error(err)
	}
}

// All at once, since each run of Helm takes half a second; those that take something away by themselves.
func TestEachValueDoesSomething(t *testing.T) {
	t.Parallel()
	digest := "sha256:" + strings.Repeat("0a", 32)
	plain := string(template(t))
	adding := map[string]string{
		"image.repository=mirror.example:5000/a":                                  "image: mirror.example:5000/a/latchkey-manager:",
		"image.tag=1.2.3":                                                         "latchkey-manager:1.2.3@",
		"image.digests.manager=" + digest:                                         "image: mirror.example:5000/a/latchkey-manager:1.2.3@" + digest,
		"image.digests.sidecar=" + digest:                                         "--sidecar-image=mirror.example:5000/a/latchkey-sidecar:1.2.3@" + digest,
		"image.digests.issuer=" + digest:                                          "--issuer-image=mirror.example:5000/a/latchkey-issuer:1.2.3@" + digest,
		"image.pullPolicy=Always":                                                 "imagePullPolicy: Always",
		"image.pullSecrets[0].name=registry":                                      "imagePullSecrets:\n      - name: registry",
		"manager.replicas=3":                                                      "replicas: 3",
		"manager.logLevel=debug":                                                  "--log-level=debug",
		"manager.profile=true":                                                    "--profile-address=127.0.0.1:8081",
		"manager.resources.limits.memory=1Gi":                                     "memory: 1Gi",
		"manager.priorityClassName=system-cluster-critical":                       "priorityClassName: system-cluster-critical",
		"manager.nodeSelector.disk=fast":                                          "nodeSelector:\n        disk: fast",
		"manager.tolerations[0].key=infra,manager.tolerations[0].operator=Exists": "tolerations:\n      - key: infra",
		"manager.podAnnotations.who=me":                                           "annotations:\n        who: me",
		"manager.podLabels.team=auth":                                             "team: auth",
		"networkPolicy.metricsFrom[0].podSelector.matchLabels.app=prometheus":     "app: prometheus",
		"monitoring.podMonitors.enabled=true":                                     "kind: PodMonitor",
		"monitoring.podMonitors.labels.release=p":                                 "release: p",
		"monitoring.podMonitors.interval=7s":                                      "interval: 7s",
		"monitoring.dashboards.enabled=true":                                      "name: latchkey-dashboard-traffic",
		"monitoring.dashboards.labels.mine=yes":                                   "mine: \"yes\"",
	}
	turned := string(template(t, "--set", strings.Join(slices.Collect(maps.Keys(adding)), ",")))
	for set, want := range adding {
		if strings.Contains(plain, want) || !strings.Contains(turned, want) {
			t.Errorf("%s: got no %q with the value, or without it as well", set, want)
		}
	}
	for set, gone := range map[string]string{
		"crds.install=false":           "kind: CustomResourceDefinition",
		"manager.replicas=1":           "kind: PodDisruptionBudget",
		"manager.priorityClassName=":   "kind: PriorityClass",
		"networkPolicy.enabled=false":  "kind: NetworkPolicy",
		"networkPolicy.metricsFrom=[]": "port: metrics\n  egress",
	} {
		how := "--set"
		if strings.HasSuffix(set, "[]") {
			how = "--set-json"
		}
		if !strings.Contains(plain, gone) || strings.Contains(string(template(t, how, set)), gone) {
			t.Errorf("%s: got %q with the value, want it without alone", set, gone)
		}
	}
}

func TestTheChartSaysWhichValuesAreWrong(t *testing.T) {
	t.Parallel()
	wrong := map[string]string{ // what is set, to how the error names it
		`manager.replica=3`:                              "'replica'",
		`size=3`:                                         "'size'",
		`manager.replicas=0`:                             "/manager/replicas",
		`manager.logLevel="loud"`:                        "/manager/logLevel",
		`image.repository="https://a.example/b"`:         "/image/repository",
		`image.tag="1@sha256:00"`:                        "/image/tag",
		`image.digests.manager="sha1:00"`:                "/image/digests/manager",
		`image.pullPolicy="Sometimes"`:                   "/image/pullPolicy",
		`image.pullSecrets=["a"]`:                        "/image/pullSecrets/0",
		`manager.podLabels.a=1`:                          "/manager/podLabels/a",
		`manager.resources.request={}`:                   "'request'",
		`monitoring.podMonitors.interval="30"`:           "/monitoring/podMonitors/interval",
		`networkPolicy.metricsFrom=[{}]`:                 "/networkPolicy/metricsFrom/0",
		`manager.tolerations=[{"effect":"NoExecution"}]`: "/manager/tolerations/0/effect",
	}
	args := []string{"template", "latchkey", chart}
	for set := range wrong {
		args = append(args, "--set-json", set)
	}
	_, err := helm(t, args...)
	if err == nil {
		t.Fatal("got no error")
	}
	for set, want := range wrong {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want it to name %s", set, err, want)
		}
	}
}

func TestEachValueHasADefaultAndAComment(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(controlplane.Root(), chart, "values.yaml"))
	must(t, err)
	var values map[string]any
	must(t, yaml.UnmarshalStrict(text, &values))
	schemaText, err := os.ReadFile(filepath.Join(controlplane.Root(), chart, "values.schema.json"))
	must(t, err)
	var schema struct{ Properties map[string]any }
	must(t, json.Unmarshal(schemaText, &schema))
	delete(schema.Properties, "global") // Helm's own
	for _, path := range leaves("", schema.Properties) {
		if !holds(values, strings.Split(path, ".")) {
			t.Errorf("%s is in the schema and not in values.yaml", path)
		}
		// A comment stands above each, with no other value in between.
		name := path[strings.LastIndex(path, ".")+1:]
		if path == "image.digests.manager" || path == "image.digests.sidecar" || path == "image.digests.issuer" {
			name = "digests"
		}
		if !regexp.MustCompile(`(?m)^ *#.*\n *` + name + `:`).Match(text) {
			t.Errorf("%s has no comment", path)
		}
	}
}

// leaves are the paths of properties that have none of their own; those of resources are Kubernetes' own.
func leaves(parent string, properties map[string]any) []string {
	var found []string
	for name, property := range properties {
		path := strings.TrimPrefix(parent+"."+name, ".")
		if inner, ok := property.(map[string]any)["properties"].(map[string]any); ok && name != "resources" {
			found = append(found, leaves(path, inner)...)
		} else {
			found = append(found, path)
		}
	}
	return found
}

func holds(values map[string]any, path []string) bool {
	value, ok := values[path[0]]
	if !ok || len(path) == 1 {
		return ok
	}
	inner, ok := value.(map[string]any)
	return ok && holds(inner, path[1:])
}
