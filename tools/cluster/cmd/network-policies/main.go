// Command network-policies enforces NetworkPolicies on this node. The firewall asks it about the first packet of every connection
// that a pod opens or receives; it answers from what the API server says about pods and policies.
//
// It serves two queues. What a pod sends is held in the first until the API server knows whose address that is: until then no policy
// could match it. The second gives the verdict. Without this process no pod opens a connection.
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

// Name of the index of pods by their addresses.
const byAddress = "enact.dev/address"

// The controller makes rules of its own, in a table of nftables, where the kernel lets nftables use queues, and leaves them behind
// when it is killed. The firewall's rules are the cluster's, on every kernel alike: no kernel takes a table with so long a name.
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

// write logs what the controller says, but for its endless complaint that its table cannot be made.
func write(prefix, message string) {
	if !strings.Contains(message, "nftables") && !strings.Contains(message, "netlink receive") {
		log.Print(prefix, message)
	}
}

// addresses are a living pod's: a finished one keeps its own in its status, when another pod may have got it.
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
