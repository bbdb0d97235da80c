// Cluster API's provider for AWS: only its CRDs are read, nothing of it is built.
module capitan.dev/hack/tools/capa

go 1.26.0

require sigs.k8s.io/cluster-api-provider-aws/v2 v2.13.0
