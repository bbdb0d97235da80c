import assert from "node:assert/strict";
import { test } from "node:test";
import { controllerAccount, installManifests, receiverAccount } from "./index.ts";

type Pod = {
  terminationGracePeriodSeconds: number;
  topologySpreadConstraints: { topologyKey: string; matchLabelKeys: string[] }[];
  containers: { lifecycle?: { preStop: { sleep: { seconds: number } } } }[];
};

function podOf(name: string): Pod {
  const found = installManifests({
    image: "registry.example/capitan:v1",
    platformNamespaces: ["fleet"],
    replicas: 2,
    eventsAddress: undefined,
    tokenSecrets: ["receiver-token"],
    management: false,
  }).find(({ kind, metadata }) => kind === "Deployment" && metadata.name === name);
  return (found as unknown as { spec: { template: { spec: Pod } } }).spec.template.spec;
}

test("a receiver answers until nobody is sent to it any more, and its drain fits into what is left", () => {
  const { terminationGracePeriodSeconds, containers } = podOf(receiverAccount);
  const seconds = containers[0]?.lifecycle?.preStop.sleep.seconds ?? 0;
  // kube-proxy takes up to a second, load balancers a few.
  assert.ok(seconds >= 5, `${seconds} s`);
  const drainSeconds = 10;
  assert.ok(seconds + drainSeconds < terminationGracePeriodSeconds);
});

test("replicas are on different nodes after an upgrade too: those that go do not count", () => {
  for (const name of [controllerAccount, receiverAccount]) {
    const [spread] = podOf(name).topologySpreadConstraints;
    assert.equal(spread?.topologyKey, "kubernetes.io/hostname");
    assert.deepEqual(spread.matchLabelKeys, ["pod-template-hash"]);
  }
});

test("a controller that is to end does so at once: the other one waits for its Lease", () => {
  assert.equal(podOf(controllerAccount).containers[0]?.lifecycle, undefined);
});
