// Command network-policies enforces NetworkPolicies on this node. The firewall queues the first packet of every connection
// that a pod opens or receives, and this command decides from the pods and policies of the API server.
//
// It serves two queues. The first holds packets of a pod until the API server knows the pod's address, because no policy can match
// it before. The second returns the verdict. Without this process, no pod can open a connection.
package main

import (
	"context"
	"flag"
	"log"
	"os/signal"
	"strings"
	"syscall"

	"github.com/go-logr/logr/funcr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	"sigs.k8s.io/kube-network-policies/pkg/networkpolicy"
)

// The name of the index of pods by address.
const byAddress = "enact.dev/address"

// On kernels on which nftables supports queues, the controller creates its own table, which remains when it is killed. The rules of
// the cluster must be the same on every kernel, so that this name is too long for any kernel.
var noTable = strings.Repeat("-", 300)

func main() {
	kubeconfig := flag.String("kubeconfig", "", "how to reach the API server")
	node := flag.String("node", "", "name of this node")
	holding := flag.Int("holding-queue", 0, "number of the queue of what pods send")
	deciding := flag.Int("deciding-queue", 0, "number of the queue of what is to be allowed or dropped")
	flag.Parse()
	klog.SetLogger(funcr.New(write, funcr.Options{}))

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		log.Fatalf("cannot use kubeconfig %q: %v", *kubeconfig, err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		log.Fatalf("cannot make a client: %v", err)
	}
	factory := informers.NewSharedInformerFactory(client, 0)
	controller, err := networkpolicy.NewController(
		client,
		factory.Networking().V1().NetworkPolicies(),
		factory.Core().V1().Namespaces(),
		factory.Core().V1().Pods(),
		nil, nil, nil, nil,
		networkpolicy.Config{NodeName: *node, QueueID: *deciding, NFTableName: noTable},
	)
	if err != nil {
		log.Fatalf("cannot make the controller: %v", err)
	}
	pods := factory.Core().V1().Pods().Informer()
	if err := pods.AddIndexers(cache.Indexers{byAddress: addresses}); err != nil {
		log.Fatalf("cannot index pods: %v", err)
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	known := func(address string) bool {
		found, err := pods.GetIndexer().ByIndex(byAddress, address)
		return err == nil && len(found) > 0
	}
	closeHold, err := hold(ctx, *holding, known)
	if err != nil {
		log.Fatalf("cannot serve queue %d: %v", *holding, err)
	}
	defer closeHold()
	if err := controller.Run(ctx); err != nil {
		log.Fatalf("cannot go on: %v", err)
	}
}

// write logs the controller's messages, except for its repeated error that its table cannot be created.
func write(prefix, message string) {
	if !strings.Contains(message, "nftables") && !strings.Contains(message, "netlink receive") {
		log.Print(prefix, message)
	}
}

// addresses returns the addresses of a running pod. A finished pod keeps its address in its status, but another pod may have it.
func addresses(object any) ([]string, error) {
	pod, ok := object.(*corev1.Pod)
	if !ok || pod.Spec.HostNetwork || pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
		return nil, nil
	}
	var list []string
	for _, address := range pod.Status.PodIPs {
		list = append(list, address.IP)
	}
	return list, nil
}
