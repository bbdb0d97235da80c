import { CapitanError, type Code } from "../errors/index.ts";
import { asList, asMap, asNumber, asString, parseJson } from "../json/index.ts";

/** A reply of an API server that is not a success, or no reply at all (`status` 0). */
export class ApiError extends CapitanError {
  /** The message without the request: `HTTP 422 Invalid: …`. */
  readonly detail: string;
  /** HTTP status; 0 when there was no reply. */
  readonly status: number;
  /** `reason` of the Status object: NotFound, AlreadyExists, Conflict, Invalid, … or "". */
  readonly reason: string;
  /** The `causes[].reason` of the Status object. */
  readonly causes: readonly string[];
  /** What the server asked us to wait, in milliseconds, if it did. */
  readonly retryAfterMs: number | undefined;

  constructor(
    what: string,
    detail: string,
    facts: {
      status: number;
      reason?: string;
      causes?: readonly string[];
      retryAfterMs?: number;
      cause?: unknown;
      code?: Code | undefined;
    },
  ) {
    super(facts.code ?? codeOf(facts.status), `${what}: ${detail}`, { cause: facts.cause });
    this.name = "ApiError";
    this.detail = detail;
    this.status = facts.status;
    this.reason = facts.reason ?? "";
    this.causes = facts.causes ?? [];
    this.retryAfterMs = facts.retryAfterMs;
  }
}

function codeOf(status: number): Code {
  if (status === 0 || status === 502 || status === 503 || status === 504) return "Unreachable";
  return status === 401 ? "CredentialsRejected" : "ApplyFailed";
}

/** What the server said, cut to this length: messages can hold a whole object. */
const messageMax = 400;

/** What of a request its error tells. */
export type Asked = {
  readonly method: string;
  readonly path: string;
  readonly as?: string | undefined;
};

/**
 * The error for a reply. A message about a Secret is never repeated: API servers quote values, up to
 * the whole object, in 422 and 500 replies.
 */
export function apiErrorOf(
  asked: Asked,
  status: number,
  { body, retryAfter }: { readonly body: string; readonly retryAfter: string | undefined },
): ApiError {
  const what = `${asked.method} ${asked.path}`;
  const parsed = statusObject(body);
  const reason = asString(parsed["reason"]) ?? "";
  const details = asMap(parsed["details"]);
  const causes = asList(details["causes"]).map((c) => asString(asMap(c)["reason"]) ?? "");
  const denial = status === 403 ? denialOf(asked, asString(parsed["message"]) ?? "") : undefined;
  const about = aboutOf(asked, said(parsed), denial?.message);
  const retryAfterMs = retryAfterOf(retryAfter, asNumber(details["retryAfterSeconds"]));
  const detail = [`HTTP ${status} ${reason}`.trimEnd(), about].filter((part) => part !== "");
  return new ApiError(what, detail.join(": "), {
    status,
    reason,
    causes,
    code: denial?.code,
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  });
}

function aboutOf({ path }: Asked, text: string, denial: string | undefined): string {
  if (!/\/secrets(\/|$|\?)/.test(path)) return text;
  return denial ?? "(message withheld: it may quote the Secret)";
}

/** How an API server says that its authorizer refused, or that nobody gives away what they do not have. */
const rightMissing =
  /User "[^"]*" cannot [a-z]+ (resource|path) "|is attempting to grant RBAC permissions not currently held/;

/**
 * Which of the two lacks a right when a user is impersonated: who asks, or who is asked for. None does
 * when the request was let through and refused by admission: a quota, a policy, a webhook.
 */
function denialOf(
  { method, as }: Asked,
  message: string,
): { readonly code: Code; readonly message: string } | undefined {
  if (as === undefined || !rightMissing.test(message)) return undefined;
  if (message.includes("cannot impersonate resource"))
    return { code: "ImpersonationRefused", message: `the controller may not act as ${as}` };
  return { code: "AccessDenied", message: `${as} may not ${method} it` };
}

function statusObject(body: string) {
  try {
    const parsed = asMap(parseJson(body));
    return parsed["kind"] === "Status" ? parsed : {};
  } catch (error) {
    return { message: error instanceof SyntaxError ? "" : String(error) };
  }
}

function said(status: Readonly<Record<string, unknown>>): string {
  const message = asString(status["message"]) ?? "";
  return message.length > messageMax ? `${message.slice(0, messageMax)}…` : message;
}

const retryAfterMaxMs = 10_000;

function retryAfterOf(header: string | undefined, seconds: number | undefined): number | undefined {
  const value = header === undefined ? seconds : Number(header);
  if (value === undefined || !Number.isFinite(value) || value < 0) return undefined;
  return Math.min(value * 1000, retryAfterMaxMs);
}

/** Whether the body of a 404 says that the object does not exist (not: that the kind is not known). */
export function saysNotFound(body: string): boolean {
  return statusObject(body)["reason"] === "NotFound";
}

/** Whether the server said that this object does not exist (not: that it does not know the kind). */
export function isNotFound(error: unknown): boolean {
  return error instanceof ApiError && error.status === 404 && error.reason === "NotFound";
}

/** Whether somebody else was faster: 409. */
export function isConflict(error: unknown): boolean {
  return error instanceof ApiError && error.status === 409;
}
