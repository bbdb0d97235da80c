#!/bin/sh
# What CI does with each commit of main: check everything that needs no key, then publish config/ as an
# OCI artifact. Needs capitan on the PATH, and REGISTRY (registry.example), TAG (stable), REVISION.
set -eu

capitan secrets verify --without-key .
capitan template lint management/templates
for environment in staging production; do
  for cluster in $(grep -l "env: $environment" management/clusters/*/cluster.yaml 2>/dev/null || true); do
    name=$(basename "$(dirname "$cluster")")
    capitan render layer apps --fleet "$environment" --cluster "$name" \
      -f "management/fleets/$environment.yaml" -f "$cluster" --source apps=config >/dev/null
  done
done
capitan push artifact "oci://$REGISTRY/fleet-config:$TAG" --path config \
  --source "$(git config --get remote.origin.url)" --revision "$REVISION"
