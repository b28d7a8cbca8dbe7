// Reads one PodMonitor or PrometheusRule as YAML from standard input and fails on any field that it does not have.
// The program is built again when go.sum changes.
package main

import (
	"fmt"
	"io"
	"os"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"sigs.k8s.io/yaml"
)

var kinds = map[string]any{
	"PodMonitor":     &monitoring.PodMonitor{},
	"PrometheusRule": &monitoring.PrometheusRule{},
}

func check() error {
	given, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	var named struct {
		Kind string `json:"kind"`
	}
	if err := yaml.Unmarshal(given, &named); err != nil {
		return err
	}
	object, known := kinds[named.Kind]
	if !known {
		return fmt.Errorf("kind %q is not known", named.Kind)
	}
	return yaml.UnmarshalStrict(given, object)
}

func main() {
	if err := check(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
