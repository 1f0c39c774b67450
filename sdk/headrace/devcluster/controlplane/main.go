// Command controlplane is the Kubernetes control plane and kubectl in one binary, a component a subcommand.
// Called by a component's name (through a symbolic link) it is that component.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	_ "time/tzdata" // CEL rules and CronJobs use time zones; a bare machine may have no zone files

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	kubectl "k8s.io/kubectl/pkg/cmd"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
)

func main() {
	name, args := filepath.Base(os.Args[0]), os.Args
	if len(args) > 1 && command(name) == nil && name != "etcd" {
		name, args = args[1], args[1:]
	}
	os.Args = args
	if name == "etcd" {
		etcdmain.Main(args)
		return
	}
	if build := command(name); build != nil {
		os.Exit(cli.Run(build()))
	}
	fmt.Fprintf(os.Stderr, "controlplane: no component %q; known: etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kubectl\n", name)
	os.Exit(2)
}

func command(name string) func() *cobra.Command {
	switch name {
	case "kube-apiserver":
		return func() *cobra.Command { return apiserver.NewAPIServerCommand() }
	case "kube-controller-manager":
		return func() *cobra.Command { return controllers.NewControllerManagerCommand() }
	case "kube-scheduler":
		return func() *cobra.Command { return scheduler.NewSchedulerCommand() }
	case "kubectl":
		return func() *cobra.Command { return kubectl.NewDefaultKubectlCommand() }
	}
	return nil
}
