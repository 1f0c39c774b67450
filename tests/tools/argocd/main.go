// Command argocd asks Argo CD's own code about objects: what their health is, which actions they offer, what an
// action does, whether they differ from what Git says, and what a sync would prune.
//
//	argocd health|actions|act|track|diff|prune < question.json > answer.json
//
// diff and prune ask the API server of KUBECONFIG.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"os"
	"sort"

	"github.com/argoproj/argo-cd/v3/pkg/apis/application/v1alpha1"
	"github.com/argoproj/argo-cd/v3/util/argo"
	"github.com/argoproj/argo-cd/v3/util/lua"
	"github.com/argoproj/argo-cd/v3/util/settings"
	"github.com/argoproj/gitops-engine/pkg/health"
	jsonpatch "github.com/evanphx/json-patch"
	"github.com/sirupsen/logrus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes/fake"
)

const (
	namespace  = "argocd"
	labelKey   = "app.kubernetes.io/instance"
	partOf     = "app.kubernetes.io/part-of"
	controller = "argocd-controller"
)

type question struct {
	// Settings are the entries of the ConfigMap argocd-cm.
	Settings map[string]string `json:"settings"`
	// Objects are live ones; Configs are what Git says of each of them.
	Objects    []map[string]any `json:"objects"`
	Configs    []map[string]any `json:"configs"`
	Action     string           `json:"action"`
	App        string           `json:"app"`
	Tracking   string           `json:"tracking"`
	Mode       string           `json:"mode"`
	Namespaces []string         `json:"namespaces"`
}

func main() {
	logrus.SetOutput(io.Discard)
	var asked question
	if err := json.NewDecoder(os.Stdin).Decode(&asked); err != nil {
		log.Fatal(err)
	}
	answers := map[string]func(question) (any, error){
		"health": healths, "actions": actions, "act": act, "track": track, "diff": diffs, "prune": prune,
	}
	answer, err := answers[os.Args[1]](asked)
	if err != nil {
		log.Fatal(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(answer); err != nil {
		log.Fatal(err)
	}
}

func (asked question) overrides() (map[string]v1alpha1.ResourceOverride, error) {
	meta := metav1.ObjectMeta{Namespace: namespace, Labels: map[string]string{partOf: "argocd"}}
	config, secret := corev1.ConfigMap{ObjectMeta: meta, Data: asked.Settings}, corev1.Secret{ObjectMeta: meta}
	config.Name, secret.Name = "argocd-cm", "argocd-secret"
	client := fake.NewClientset(&config, &secret)
	return settings.NewSettingsManager(context.Background(), client, namespace).GetResourceOverrides()
}

// live has whole numbers as int64, as clients of the API have.
func live(object map[string]any) *unstructured.Unstructured {
	text, err := json.Marshal(object)
	if err != nil {
		log.Fatal(err)
	}
	found := &unstructured.Unstructured{}
	if err := found.UnmarshalJSON(text); err != nil {
		log.Fatal(err)
	}
	return found
}

func all(objects []map[string]any) []*unstructured.Unstructured {
	found := make([]*unstructured.Unstructured, 0, len(objects))
	for _, each := range objects {
		found = append(found, live(each))
	}
	return found
}

func healths(asked question) (any, error) {
	overrides, err := asked.overrides()
	if err != nil {
		return nil, err
	}
	found := []*health.HealthStatus{}
	for _, object := range all(asked.Objects) {
		status, err := health.GetResourceHealth(object, lua.ResourceHealthOverrides(overrides))
		if err != nil {
			return nil, fmt.Errorf("%s %s: %w", object.GetKind(), object.GetName(), err)
		}
		found = append(found, status)
	}
	return found, nil
}

func actions(asked question) (any, error) {
	overrides, err := asked.overrides()
	if err != nil {
		return nil, err
	}
	vm := lua.VM{ResourceOverrides: overrides}
	found := [][]string{}
	for _, object := range all(asked.Objects) {
		scripts, err := vm.GetResourceActionDiscovery(object)
		if err != nil {
			return nil, err
		}
		names := []string{}
		if len(scripts) > 0 {
			offered, err := vm.ExecuteResourceActionDiscovery(object, scripts)
			if err != nil {
				return nil, err
			}
			for _, each := range offered {
				if !each.Disabled {
					names = append(names, each.Name)
				}
			}
		}
		sort.Strings(names)
		found = append(found, names)
	}
	return found, nil
}

// act answers as Argo CD's server acts: an object to create, or a merge patch of the live one.
func act(asked question) (any, error) {
	overrides, err := asked.overrides()
	if err != nil {
		return nil, err
	}
	vm, object := lua.VM{ResourceOverrides: overrides}, live(asked.Objects[0])
	action, err := vm.GetResourceAction(object, asked.Action)
	if err != nil {
		return nil, err
	}
	impacted, err := vm.ExecuteResourceAction(object, action.ActionLua, nil)
	if err != nil {
		return nil, err
	}
	found := []map[string]any{}
	for _, each := range impacted {
		content := any(each.UnstructuredObj.Object)
		if each.K8SOperation == lua.PatchOperation {
			if content, err = patch(object, each.UnstructuredObj); err != nil {
				return nil, err
			}
		}
		found = append(found, map[string]any{"operation": each.K8SOperation, "content": content})
	}
	return found, nil
}

func patch(before, after *unstructured.Unstructured) (json.RawMessage, error) {
	old, err := json.Marshal(before)
	if err != nil {
		return nil, err
	}
	made, err := json.Marshal(after)
	if err != nil {
		return nil, err
	}
	return jsonpatch.CreateMergePatch(old, made)
}

// track answers with the objects as Argo CD applies them for an application.
func track(asked question) (any, error) {
	objects := all(asked.Objects)
	for _, object := range objects {
		method := v1alpha1.TrackingMethod(asked.Tracking)
		namespace := object.GetNamespace()
		err := argo.NewResourceTracking().SetAppInstance(object, labelKey, asked.App, namespace, method, "")
		if err != nil {
			return nil, err
		}
	}
	return objects, nil
}
