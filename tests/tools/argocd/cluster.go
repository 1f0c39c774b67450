package main

import (
	"fmt"
	"os"
	"sort"
	"time"

	"github.com/argoproj/argo-cd/v3/pkg/apis/application/v1alpha1"
	"github.com/argoproj/argo-cd/v3/util/argo"
	argodiff "github.com/argoproj/argo-cd/v3/util/argo/diff"
	"github.com/argoproj/argo-cd/v3/util/argo/normalizers"
	"github.com/argoproj/gitops-engine/pkg/cache"
	"github.com/argoproj/gitops-engine/pkg/diff"
	"github.com/argoproj/gitops-engine/pkg/sync"
	"github.com/argoproj/gitops-engine/pkg/utils/kube"
	"github.com/argoproj/gitops-engine/pkg/utils/tracing"
	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

func connection() (*rest.Config, error) {
	return clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
}

// diffs answers, for each object, with "" or with what Argo CD would change in it. Modes: client, structured, server.
func diffs(asked question) (any, error) {
	config, err := asked.diffConfig()
	if err != nil {
		return nil, err
	}
	found := []string{}
	for index, object := range all(asked.Objects) {
		result, err := argodiff.StateDiff(object, live(asked.Configs[index]), config)
		if err != nil {
			return nil, err
		}
		told := ""
		if result.Modified {
			told = fmt.Sprintf("live: %s\nwanted: %s", result.NormalizedLive, result.PredictedLive)
		}
		found = append(found, told)
	}
	return found, nil
}

func (asked question) diffConfig() (argodiff.DiffConfig, error) {
	overrides, err := asked.overrides()
	if err != nil {
		return nil, err
	}
	server, err := connection()
	if err != nil {
		return nil, err
	}
	quiet, untraced := logr.Discard(), tracing.NopTracer{}
	schema, parser, err := (&kube.KubectlCmd{Log: quiet, Tracer: untraced}).LoadOpenAPISchema(server)
	if err != nil {
		return nil, err
	}
	// Its temporary file goes with the one of the test.
	applier, _, err := kube.ManageServerSideDiffDryRuns(server, schema, untraced, quiet, nil)
	if err != nil {
		return nil, err
	}
	timeout := normalizers.IgnoreNormalizerOpts{JQExecutionTimeout: time.Second}
	return argodiff.NewDiffConfigBuilder().
		WithDiffSettings([]v1alpha1.ResourceIgnoreDifferences{}, overrides, false, timeout).
		WithTracking(labelKey, asked.Tracking).
		WithNoCache().
		WithLogger(quiet).
		WithGVKParser(parser).
		WithManager(controller).
		WithStructuredMergeDiff(asked.Mode == "structured").
		WithServerSideDiff(asked.Mode == "server").
		WithServerSideDryRunner(diff.NewK8sServerSideDryRunner(applier)).
		Build()
}

type plan struct {
	// Prune are live objects that a sync would delete; Children those that the tree shows below others.
	Prune    []string `json:"prune"`
	Children []string `json:"children"`
}

func prune(asked question) (any, error) {
	server, err := connection()
	if err != nil {
		return nil, err
	}
	method := v1alpha1.TrackingMethod(asked.Tracking)
	seen := cache.NewClusterCache(
		server,
		cache.SetLogr(logr.Discard()),
		cache.SetNamespaces(asked.Namespaces),
		cache.SetPopulateResourceInfoHandler(func(un *unstructured.Unstructured, isRoot bool) (any, bool) {
			app := argo.NewResourceTracking().GetAppName(un, labelKey, method, "")
			return app, isRoot && app != ""
		}),
	)
	if err := seen.EnsureSynced(); err != nil {
		return nil, err
	}
	targets := all(asked.Configs)
	managed, err := seen.GetManagedLiveObjs(targets, func(each *cache.Resource) bool { return each.Info == asked.App })
	if err != nil {
		return nil, err
	}
	made := plan{Prune: []string{}, Children: []string{}}
	roots := []kube.ResourceKey{}
	for _, target := range targets {
		roots = append(roots, kube.GetResourceKey(target))
	}
	result := sync.Reconcile(targets, managed, "", seen)
	for index, object := range result.Live {
		if result.Target[index] == nil {
			made.Prune = append(made.Prune, name(kube.GetResourceKey(object)))
		}
	}
	seen.IterateHierarchyV2(roots, func(each *cache.Resource, _ map[kube.ResourceKey]*cache.Resource) bool {
		if len(each.OwnerRefs) > 0 {
			made.Children = append(made.Children, name(each.ResourceKey()))
		}
		return true
	})
	sort.Strings(made.Prune)
	sort.Strings(made.Children)
	return made, nil
}

func name(key kube.ResourceKey) string {
	return key.Kind + "/" + key.Name
}
