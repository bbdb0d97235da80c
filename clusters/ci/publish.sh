#!/bin/sh
# What CI does with each commit of main: check everything that needs no key, then publish config/ as an
# OCI artifact. Needs capitan on the PATH, and REGISTRY (registry.example), TAG (stable), REVISION.
set -eu

capitan secrets verify --without-key .
capitan template lint -f management/templates
# Every cluster's apps, as its Fleet would render them.
for fleet in management/fleets/*.yaml; do
  label=$(sed -n 's/^ *matchLabels: { env: \(.*\) }$/\1/p' "$fleet")
  [ -n "$label" ] || continue
  for cluster in management/clusters/*/cluster.yaml; do
    grep -q "^ *env: $label$" "$cluster" || continue
    capitan render layer apps --fleet "$(basename "$fleet" .yaml)" \
      --cluster "$(basename "$(dirname "$cluster")")" \
      -f "$fleet" -f "$cluster" --source apps=config >/dev/null
  done
done
capitan push artifact "oci://$REGISTRY/fleet-config:$TAG" --path config \
  --source "$(git config --get remote.origin.url)" --revision "$REVISION"
