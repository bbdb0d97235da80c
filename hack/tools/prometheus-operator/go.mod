// Prometheus Operator: only its CRDs are read, nothing of it is built.
module capitan.dev/hack/tools/prometheus-operator

go 1.26.0

require github.com/prometheus-operator/prometheus-operator v0.85.0
