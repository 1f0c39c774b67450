// Command flux asks Flux's own code about objects: what their status is by kstatus, and by healthCheckExprs.
//
//	flux < question.json > answer.json
package main

import (
	"context"
	"encoding/json"
	"log"
	"os"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"github.com/fluxcd/pkg/apis/kustomize"
	"github.com/fluxcd/pkg/runtime/cel"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

type question struct {
	Objects     []json.RawMessage             `json:"objects"`
	Expressions []kustomize.CustomHealthCheck `json:"expressions"`
}

// answer has statuses as kstatus writes them; ByExpressions is "" where no expression is of the object's kind, Unknown where one
// speaks of what the object does not have yet.
type answer struct {
	ByConventions string `json:"byConventions"`
	ByExpressions string `json:"byExpressions"`
}

func main() {
	var asked question
	if err := json.NewDecoder(os.Stdin).Decode(&asked); err != nil {
		log.Fatal(err)
	}
	answers := []answer{}
	for _, text := range asked.Objects {
		object := &unstructured.Unstructured{}
		if err := object.UnmarshalJSON(text); err != nil {
			log.Fatal(err)
		}
		answers = append(answers, about(object, asked.Expressions))
	}
	if err := json.NewEncoder(os.Stdout).Encode(answers); err != nil {
		log.Fatal(err)
	}
}

func about(object *unstructured.Unstructured, checks []kustomize.CustomHealthCheck) answer {
	found, err := status.Compute(object)
	if err != nil {
		log.Fatal(err)
	}
	told := answer{ByConventions: string(found.Status)}
	for _, check := range checks {
		if check.APIVersion != object.GetAPIVersion() || check.Kind != object.GetKind() {
			continue
		}
		evaluator, err := cel.NewStatusEvaluator(&check.HealthCheckExpressions)
		if err != nil {
			log.Fatal(err)
		}
		result, err := evaluator.Evaluate(context.Background(), object)
		if err != nil {
			// As Flux's poller has it: it looks again, until its timeout.
			told.ByExpressions = string(status.UnknownStatus)
			continue
		}
		told.ByExpressions = string(result.Status)
	}
	return told
}
