import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { webhookPath } from "../../pkg/receiver/index.ts";
import { startCi, type Ci } from "./ci.ts";
import { startReceiver } from "./controller.ts";
import { startGit, type Git } from "./git.ts";
import { labNamespace } from "./lab.ts";
import { root } from "./paths.ts";
import type { LabFile } from "./state.ts";

/** The token of the Receivers `git` and `registry`, as whoever pushes has it. */
export const receiverToken = "a-token-that-only-the-lab-knows";

const hookOf = ({ ports }: LabFile, name: string) =>
  `http://127.0.0.1:${ports.receiver}${webhookPath(receiverToken, { name, namespace: labNamespace })}`;

/** Whom the lab's registry tells of pushes. */
export const registryTells = (lab: LabFile) => ({
  url: hookOf(lab, "registry"),
  authorization: `Bearer ${receiverToken}`,
});

/**
 * What a fleet needs around the hub: a Git server with an empty repository, a CI process that hears of
 * its pushes, and Capitan's receiver, which listens once the Receivers and their token are on the hub.
 */
export async function startFleet(lab: LabFile): Promise<{ readonly git: Git; readonly ci: Ci }> {
  const git = await startGit(lab);
  const ci = await startCi(lab, git.url);
  await startReceiver(lab);
  await git.tell([{ url: ci.url }, { url: hookOf(lab, "git"), token: receiverToken }]);
  return { git, ci };
}

/** Writes a file for `. FILE` in a shell that follows docs/first-cluster.md; gives its path. */
export async function writeFleetEnvironment(lab: LabFile, { url }: Git): Promise<string> {
  const file = join(lab.dir, "fleet.env");
  const lines = [
    `export KUBECONFIG=${lab.hubKubeconfig}`,
    `export CAPITAN=${root}`,
    `export GIT_URL=${url}`,
    `export REGISTRY=${lab.registry}`,
    `export RECEIVER_TOKEN=${receiverToken}`,
    `capitan() { ${process.execPath} ${root}/cmd/capitan/main.ts "$@"; }`,
  ];
  await writeFile(file, `${lines.join("\n")}\n`);
  return file;
}
