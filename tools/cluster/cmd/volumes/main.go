// Command volumes provisions directories of this node for PersistentVolumeClaims: it creates a local volume for a claim that the
// scheduler has placed here, and deletes it after its claim.
package main

import (
	"context"
	"flag"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	// The provisioner of the StorageClass.
	provisionerName = "enact.dev/local"

	// The annotations that Kubernetes' controllers exchange with a provisioner.
	claimProvisioner  = "volume.kubernetes.io/storage-provisioner"
	claimNode         = "volume.kubernetes.io/selected-node"
	volumeProvisioner = "pv.kubernetes.io/provisioned-by"

	// Failures are retried when the informers resync all objects.
	resync = 10 * time.Second
)

type provisioner struct {
	client    kubernetes.Interface
	directory string
	node      string
}

func main() {
	kubeconfig := flag.String("kubeconfig", "", "how to reach the API server")
	directory := flag.String("directory", "", "where volumes are made")
	node := flag.String("node", "", "name of this node")
	flag.Parse()

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
	p := &provisioner{client: client, directory: *directory, node: *node}

	factory := informers.NewSharedInformerFactory(client, resync)
	watch(factory.Core().V1().PersistentVolumeClaims().Informer(), func(object any) {
		if claim, ok := object.(*corev1.PersistentVolumeClaim); ok && p.wants(claim) {
			report("provision for claim "+claim.Namespace+"/"+claim.Name, p.provision(ctx, claim))
		}
	})
	watch(factory.Core().V1().PersistentVolumes().Informer(), func(object any) {
		if volume, ok := object.(*corev1.PersistentVolume); ok && p.released(volume) {
			report("delete volume "+volume.Name, p.delete(ctx, volume))
		}
	})
	factory.Start(ctx.Done())
	<-ctx.Done()
	factory.Shutdown()
}

func watch(informer cache.SharedIndexInformer, reconcile func(object any)) {
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    reconcile,
		UpdateFunc: func(_, object any) { reconcile(object) },
	})
	if err != nil {
		log.Fatalf("cannot watch: %v", err)
	}
}

func report(action string, err error) {
	if err != nil {
		log.Printf("cannot %s, will try again: %v", action, err)
		return
	}
	log.Print(action)
}

func (p *provisioner) wants(claim *corev1.PersistentVolumeClaim) bool {
	return claim.Annotations[claimProvisioner] == provisionerName && claim.Annotations[claimNode] == p.node &&
		claim.Spec.VolumeName == "" && claim.DeletionTimestamp == nil
}

func (p *provisioner) released(volume *corev1.PersistentVolume) bool {
	return volume.Annotations[volumeProvisioner] == provisionerName && volume.Status.Phase == corev1.VolumeReleased &&
		volume.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimDelete && volume.DeletionTimestamp == nil
}

func (p *provisioner) provision(ctx context.Context, claim *corev1.PersistentVolumeClaim) error {
	volume := p.volume(claim)
	path := volume.Spec.Local.Path
	if err := os.MkdirAll(path, 0o777); err != nil {
		return err
	}
	// Independent of the umask, because the pod's user is not known here.
	if err := os.Chmod(path, 0o777); err != nil {
		return err
	}
	_, err := p.client.CoreV1().PersistentVolumes().Create(ctx, volume, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

func (p *provisioner) delete(ctx context.Context, volume *corev1.PersistentVolume) error {
	// The path is derived from the name and not read from the object, so that nothing else can be deleted.
	if err := os.RemoveAll(filepath.Join(p.directory, filepath.Base(volume.Name))); err != nil {
		return err
	}
	err := p.client.CoreV1().PersistentVolumes().Delete(ctx, volume.Name, metav1.DeleteOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

func (p *provisioner) volume(claim *corev1.PersistentVolumeClaim) *corev1.PersistentVolume {
	name := "pvc-" + string(claim.UID)
	class := ""
	if claim.Spec.StorageClassName != nil {
		class = *claim.Spec.StorageClassName
	}
	onThisNode := corev1.NodeSelectorRequirement{
		Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: []string{p.node},
	}
	return &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{volumeProvisioner: provisionerName}},
		Spec: corev1.PersistentVolumeSpec{
			AccessModes:                   claim.Spec.AccessModes,
			Capacity:                      corev1.ResourceList{corev1.ResourceStorage: claim.Spec.Resources.Requests[corev1.ResourceStorage]},
			ClaimRef:                      &corev1.ObjectReference{Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID},
			PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimDelete,
			PersistentVolumeSource: corev1.PersistentVolumeSource{
				Local: &corev1.LocalVolumeSource{Path: filepath.Join(p.directory, name)},
			},
			StorageClassName: class,
			NodeAffinity: &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{
				NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{onThisNode}}},
			}},
		},
	}
}
