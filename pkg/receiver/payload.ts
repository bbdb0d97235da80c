import type { ReceiverSpec, ReceiverType } from "../api/index.ts";
import { asList, asMap, asString, type JsonMap } from "../json/index.ts";

/** What a delivery says was pushed. */
export type Pushed =
  | { readonly kind: "anything" }
  | {
      readonly kind: "git";
      /** By every address that the provider gives; see `repositoryOf`. */
      readonly repositories: readonly string[];
      /** The whole name of a reference; undefined for any. */
      readonly ref: string | undefined;
    }
  | { readonly kind: "oci"; readonly tags: readonly TagPush[] }
  | { readonly kind: "nothing" };

type TagPush = { readonly repository: string; readonly tag: string };

const nothing: Pushed = { kind: "nothing" };

/** The events of each provider that are pushes of branches and tags. */
const pushEvents: Readonly<Record<ReceiverType, readonly string[]>> = {
  generic: [],
  "generic-hmac": [],
  github: ["push"],
  gitea: ["push"],
  gitlab: ["Push Hook", "Tag Push Hook"],
  distribution: [],
};

/** More entries than a registry sends in one envelope. */
const eventsMax = 1_000;

/** Whether an event of this name counts for the Receiver; only providers of Git name theirs. */
export function isHeard({ type, events }: ReceiverSpec, event: string | undefined): boolean {
  const known = pushEvents[type];
  return known.length === 0 || (events ?? known).includes(event ?? "");
}

/** Reads what a genuine delivery says. What it does not say clearly wakes nobody. */
export function readPush(
  { type }: ReceiverSpec,
  event: string | undefined,
  payload: unknown,
): Pushed {
  if (type === "generic" || type === "generic-hmac") return { kind: "anything" };
  if (type === "distribution") return readNotification(payload);
  const body = asMap(payload);
  const repositories = [...new Set(addresses(body).flatMap((url) => repositoryOf(url) ?? []))];
  const ref = asString(body["ref"]);
  const isPush = pushEvents[type].includes(event ?? "");
  if (isPush && ref?.startsWith("refs/") !== true) return nothing;
  return { kind: "git", repositories, ref: isPush ? ref : undefined };
}

/** Every address of the repository in a payload of GitHub, Gitea or GitLab. */
function addresses(body: JsonMap): readonly string[] {
  const repository = asMap(body["repository"]);
  const project = asMap(body["project"]);
  return [
    ...["clone_url", "ssh_url", "html_url", "git_http_url", "git_ssh_url"].map(
      (field) => repository[field],
    ),
    ...["git_http_url", "git_ssh_url", "web_url"].map((field) => project[field]),
  ].flatMap((value) => asString(value) ?? []);
}

/** The envelope of distribution: of its events only the pushes of a tag. */
function readNotification(payload: unknown): Pushed {
  const tags = asList(asMap(payload)["events"])
    .slice(0, eventsMax)
    .flatMap((item): readonly TagPush[] => {
      const event = asMap(item);
      const target = asMap(event["target"]);
      const [repository, tag] = [asString(target["repository"]), asString(target["tag"])];
      if (event["action"] !== "push" || !repository || !tag) return [];
      return [{ repository, tag }];
    });
  return tags.length === 0 ? nothing : { kind: "oci", tags };
}

const urlLengthMax = 1_024;
const url = /^(?:https?|ssh|git):\/\/(?:[^@/]*@)?(\[[0-9a-f:.]+\]|[a-z0-9.-]+)(?::\d{1,5})?\/(.+)$/;
/** As in `git@host:team/repository.git`. */
const scpLike = /^(?:[a-z0-9._-]+@)?([a-z0-9.-]+):(?!\/\/)\/?(.+)$/;

/**
 * `host/path` of a Git URL of any form, the same for each way to the same repository: without scheme,
 * login and port, in lower case, without a slash or `.git` at the end. undefined for what is none.
 */
export function repositoryOf(text: string): string | undefined {
  if (text.length > urlLengthMax) return undefined;
  const lower = text.toLowerCase();
  const [, host, path] = url.exec(lower) ?? scpLike.exec(lower) ?? [];
  if (host === undefined || path === undefined) return undefined;
  const plain = path
    .split("/")
    .filter((segment) => segment !== "")
    .join("/")
    .replace(/\.git$/, "");
  return plain === "" ? undefined : `${host}/${plain}`;
}
