// Runs the in-memory backend of Cluster API's Docker provider alone, without Docker: the reconcilers
// and webhooks of DevCluster and DevMachine, as the provider's own program starts them. Its API servers
// answer two things as no Kubernetes does; plain.go mends that, since Capitan takes neither for an answer.
package main

import (
	"context"
	"errors"
	"os"

	"github.com/spf13/pflag"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	storagev1 "k8s.io/api/storage/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/selection"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/klog/v2"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/controllers/clustercache"
	"sigs.k8s.io/cluster-api/feature"
	"sigs.k8s.io/cluster-api/test/infrastructure/container"
	infrav1beta1 "sigs.k8s.io/cluster-api/test/infrastructure/docker/api/v1beta1"
	infrav1 "sigs.k8s.io/cluster-api/test/infrastructure/docker/api/v1beta2"
	"sigs.k8s.io/cluster-api/test/infrastructure/docker/controllers"
	"sigs.k8s.io/cluster-api/test/infrastructure/docker/webhooks"
	cloudv1 "sigs.k8s.io/cluster-api/test/infrastructure/inmemory/pkg/cloud/api/v1alpha1"
	"sigs.k8s.io/cluster-api/test/infrastructure/inmemory/pkg/runtime/manager"
	"sigs.k8s.io/cluster-api/test/infrastructure/inmemory/pkg/server"
	"sigs.k8s.io/cluster-api/util/flags"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
)

// So many clusters or machines at once; on two cores more only makes all of them slower.
const concurrency = 10

type settings struct {
	webhookPort                    int
	webhookCertDir, health         string
	firstPort, lastPort, debugPort int32
	diagnostics                    flags.ManagerOptions
}

func main() {
	ctrl.SetLogger(klog.Background())
	if err := run(ctrl.SetupSignalHandler(), parse()); err != nil {
		klog.ErrorS(err, "the in-memory provider ends")
		os.Exit(1)
	}
}

func parse() settings {
	var s settings
	fs := pflag.CommandLine
	fs.IntVar(&s.webhookPort, "webhook-port", 0, "Port of the webhooks.")
	fs.StringVar(&s.webhookCertDir, "webhook-cert-dir", "", "Directory of their certificate.")
	fs.StringVar(&s.health, "health-addr", "", "Address of the health endpoint.")
	fs.Int32Var(&s.firstPort, "first-port", 0, "First port of the clusters' API servers.")
	fs.Int32Var(&s.lastPort, "last-port", 0, "Last port of the clusters' API servers.")
	fs.Int32Var(&s.debugPort, "debug-port", 0, "Port where the backend shows its own state.")
	flags.AddManagerOptions(fs, &s.diagnostics)
	feature.MutableGates.AddFlag(fs)
	pflag.Parse()
	return s
}

func run(ctx context.Context, s settings) error {
	scheme, memory, err := schemes()
	if err != nil {
		return err
	}
	mgr, err := newManager(scheme, s)
	if err != nil {
		return err
	}
	backend := plainManager{manager.New(memory)}
	if err := backend.Start(ctx); err != nil {
		return err
	}
	ports := server.CustomPorts{MinPort: s.firstPort, MaxPort: s.lastPort, DebugPort: s.debugPort}
	mux, err := server.NewWorkloadClustersMux(backend, "127.0.0.1", ports)
	if err != nil {
		return err
	}
	if err := setup(ctx, mgr, backend, mux); err != nil {
		return err
	}
	return mgr.Start(ctx)
}

// schemes are what the hub serves of what is needed here, and what the clusters' API servers serve.
func schemes() (hub, memory *runtime.Scheme, err error) {
	hub, memory = runtime.NewScheme(), runtime.NewScheme()
	return hub, memory, errors.Join(
		clientgoscheme.AddToScheme(hub), apiextensionsv1.AddToScheme(hub), clusterv1.AddToScheme(hub),
		infrav1beta1.AddToScheme(hub), infrav1.AddToScheme(hub),
		cloudv1.AddToScheme(memory), corev1.AddToScheme(memory), appsv1.AddToScheme(memory),
		rbacv1.AddToScheme(memory), storagev1.AddToScheme(memory), policyv1.AddToScheme(memory),
		apiextensionsv1.AddToScheme(memory),
	)
}

func newManager(scheme *runtime.Scheme, s settings) (ctrl.Manager, error) {
	tls, metrics, err := flags.GetManagerOptions(s.diagnostics)
	if err != nil {
		return nil, err
	}
	ofClusters, err := labels.NewRequirement(clusterv1.ClusterNameLabel, selection.Exists, nil)
	if err != nil {
		return nil, err
	}
	secrets := cache.ByObject{Label: labels.NewSelector().Add(*ofClusters)}
	config, err := ctrl.GetConfig()
	if err != nil {
		return nil, err
	}
	config.QPS, config.Burst = 100, 200
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme:                 scheme,
		Metrics:                *metrics,
		HealthProbeBindAddress: s.health,
		Cache:                  cache.Options{ByObject: map[client.Object]cache.ByObject{&corev1.Secret{}: secrets}},
		Client: client.Options{Cache: &client.CacheOptions{
			DisableFor:   []client.Object{&corev1.ConfigMap{}, &corev1.Secret{}},
			Unstructured: true,
		}},
		WebhookServer: webhook.NewServer(webhook.Options{Port: s.webhookPort, CertDir: s.webhookCertDir, TLSOpts: tls}),
	})
	if err != nil {
		return nil, err
	}
	return mgr, mgr.AddReadyzCheck("webhook", mgr.GetWebhookServer().StartedChecker())
}

func setup(ctx context.Context, mgr ctrl.Manager, backend plainManager, mux *server.WorkloadClustersMux) error {
	// Dials nothing as long as no object asks for the Docker backend.
	docker, err := container.NewDockerClient()
	if err != nil {
		return err
	}
	options := controller.Options{MaxConcurrentReconciles: concurrency}
	clusters, err := clusterCache(ctx, mgr, options)
	if err != nil {
		return err
	}
	return errors.Join(
		(&controllers.DevClusterReconciler{
			Client: mgr.GetClient(), ContainerRuntime: docker, InMemoryManager: backend, APIServerMux: mux,
		}).SetupWithManager(ctx, mgr, options),
		(&controllers.DevMachineReconciler{
			Client: mgr.GetClient(), ContainerRuntime: docker, InMemoryManager: backend, APIServerMux: mux,
			ClusterCache: clusters,
		}).SetupWithManager(ctx, mgr, options),
		(&webhooks.DevCluster{}).SetupWebhookWithManager(mgr),
		(&webhooks.DevClusterTemplate{}).SetupWebhookWithManager(mgr),
		(&webhooks.DevMachine{}).SetupWebhookWithManager(mgr),
		(&webhooks.DevMachineTemplate{}).SetupWebhookWithManager(mgr),
	)
}

func clusterCache(ctx context.Context, mgr ctrl.Manager, options controller.Options) (clustercache.ClusterCache, error) {
	secrets, err := client.New(mgr.GetConfig(), client.Options{
		HTTPClient: mgr.GetHTTPClient(),
		Cache:      &client.CacheOptions{Reader: mgr.GetCache()},
	})
	if err != nil {
		return nil, err
	}
	return clustercache.SetupWithManager(ctx, mgr, clustercache.Options{
		SecretClient: secrets,
		Client: clustercache.ClientOptions{
			QPS: 20, Burst: 30, UserAgent: "in-memory",
			Cache: clustercache.ClientCacheOptions{
				DisableFor: []client.Object{&corev1.ConfigMap{}, &corev1.Secret{}},
			},
		},
	}, options)
}
