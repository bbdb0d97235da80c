import { open } from "node:fs/promises";
import { auditFile } from "./apiserver.ts";
import { asMap, asNumber, asString, parseJson } from "../../pkg/json/index.ts";

/** A request as an API server's audit log tells it. A server-side apply has verb `patch`. */
export type AuditEntry = {
  readonly verb: string;
  readonly user: string;
  /** As whom, when somebody is impersonated; else empty. */
  readonly impersonated: string;
  readonly userAgent: string;
  readonly resource: string;
  readonly group: string;
  readonly namespace: string;
  readonly name: string;
  readonly subresource: string;
  /** HTTP status; 201 says that a create or an apply has created. */
  readonly code: number;
  readonly requestURI: string;
  /** What was sent, where the policy has it written down: patches in the namespace `audited`. */
  readonly body: unknown;
  /** When the reply was ready, in milliseconds since 1970. */
  readonly timeMs: number;
};

/** A position in an audit log. */
export type Mark = number;

export type Audit = {
  /** The end of the log, as of now. */
  readonly mark: () => Promise<Mark>;
  /** What was answered after a mark, one entry per request, watches when they began. */
  readonly since: (mark: Mark) => Promise<readonly AuditEntry[]>;
};

/**
 * Reads the audit log of one API server, `hub` or a cluster's name. Its methods throw when there is
 * no log: an oracle that sees nothing must not agree.
 */
export function auditOf(labDir: string, server: string): Audit {
  const file = auditFile(labDir, server);
  return {
    mark: async () => (await tail(file, 0)).end,
    since: async (mark) => entriesOf((await tail(file, mark)).text),
  };
}

/** The complete lines from a byte position on, and where they end. */
async function tail(file: string, from: Mark): Promise<{ text: string; end: Mark }> {
  const handle = await open(file, "r").catch(() => {
    throw new Error(`no audit log ${file}: start the laboratory with audit: true`);
  });
  try {
    const { size } = await handle.stat();
    const buffer = Buffer.alloc(Math.max(0, size - from));
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, from);
    const length = buffer.subarray(0, bytesRead).lastIndexOf(10) + 1;
    return { text: buffer.toString("utf8", 0, length), end: from + length };
  } finally {
    await handle.close();
  }
}

function entriesOf(text: string): readonly AuditEntry[] {
  return text.split("\n").flatMap((line) => {
    if (line === "") return [];
    const event = asMap(parseJson(line));
    // A long request is told twice; a watch is of interest when it begins.
    const wanted = event["verb"] === "watch" ? "ResponseStarted" : "ResponseComplete";
    const stage = event["stage"];
    return stage === wanted || stage === "Panic" ? [entryOf(event)] : [];
  });
}

function entryOf(event: ReturnType<typeof asMap>): AuditEntry {
  const object = asMap(event["objectRef"]);
  const text = (map: typeof object, field: string) => asString(map[field]) ?? "";
  return {
    verb: text(event, "verb"),
    user: text(asMap(event["user"]), "username"),
    impersonated: text(asMap(event["impersonatedUser"]), "username"),
    userAgent: text(event, "userAgent"),
    resource: text(object, "resource"),
    group: text(object, "apiGroup"),
    namespace: text(object, "namespace"),
    name: text(object, "name"),
    subresource: text(object, "subresource"),
    code: asNumber(asMap(event["responseStatus"])["code"]) ?? 0,
    requestURI: text(event, "requestURI"),
    body: event["requestObject"],
    timeMs: Date.parse(text(event, "stageTimestamp")),
  };
}

const writeVerbs = new Set(["create", "update", "patch", "delete", "deletecollection"]);

type Test = (entry: AuditEntry) => boolean;

/** The requests that write, refused ones included; not dry runs, not what any of `except` is true of. */
export function writes(
  entries: readonly AuditEntry[],
  { except = [] }: { readonly except?: readonly Test[] } = {},
): readonly AuditEntry[] {
  return entries.filter(
    (entry) =>
      writeVerbs.has(entry.verb) &&
      !/[?&]dryRun=/.test(entry.requestURI) &&
      !except.some((test) => test(entry)),
  );
}

/** Whether a request is about a Lease. */
export const isLease: Test = ({ resource, group }) =>
  resource === "leases" && group === "coordination.k8s.io";

/** Whether a request was refused, so that nothing has changed. */
export const isRefused: Test = ({ code }) => code >= 400;

/** How often each "verb resource namespace/name" occurs; a subresource as `resource/subresource`, no namespace as "". */
export function counts(entries: readonly AuditEntry[]): ReadonlyMap<string, number> {
  return tally(entries.map((entry) => `${entry.verb} ${objectOf(entry)}`));
}

/** How often each object came and went: "create …" (an apply that was answered 201 is one) and "delete …", refused ones left out. */
export function lives(entries: readonly AuditEntry[]): ReadonlyMap<string, number> {
  const done = writes(entries, { except: [isRefused, ({ subresource }) => subresource !== ""] });
  return tally(
    done.flatMap((entry) => {
      if (entry.code === 201) return [`create ${objectOf(entry)}`];
      return entry.verb === "delete" ? [`delete ${objectOf(entry)}`] : [];
    }),
  );
}

/** What the controller did since the mark. */
export async function requestsSince(audit: Audit, mark: Mark): Promise<readonly AuditEntry[]> {
  return (await audit.since(mark)).filter(({ userAgent }) => userAgent === "capitan-controller");
}

/** What the controller wrote since the mark, as "verb resource namespace/name", its Lease left out. */
export async function writesSince(audit: Audit, mark: Mark): Promise<readonly string[]> {
  const done = writes(await requestsSince(audit, mark), { except: [isLease] });
  return done.map((entry) => `${entry.verb} ${objectOf(entry)}`);
}

function objectOf({ resource, subresource, namespace, name }: AuditEntry): string {
  return `${resource}${subresource === "" ? "" : `/${subresource}`} ${namespace}/${name}`;
}

function tally(keys: readonly string[]): ReadonlyMap<string, number> {
  const counted = new Map<string, number>();
  for (const key of keys) counted.set(key, (counted.get(key) ?? 0) + 1);
  return counted;
}
